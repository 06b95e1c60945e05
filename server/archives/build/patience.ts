// Lets a build wait while journal or spool is unavailable: each call is tried again for a while. Other errors pass at once.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../lib/clock.ts'
import { describe, type Log } from '../../lib/log.ts'
import type { Journal } from '../../ports/journal.ts'
import type { PartWriter, Spool, SpoolReader, SpoolWriter } from '../../ports/spool.ts'
import { UnavailableError } from '../../ports/unavailable.ts'

/** An outage of this length is not a hiccup any more, so the build stops and is continued later. */
const PATIENCE_MS = 60_000
const FIRST_WAIT_MS = 200
const MAX_WAIT_MS = 5_000

/** Does the work, and tries it again as long as it fails with an `UnavailableError`. */
type Persist = <T>(work: () => Promise<T>) => Promise<T>

interface PersistOptions {
  clock: Clock
  /** Ends all waiting when it aborts. */
  signal: AbortSignal
  /** Called with the first failure of each call. */
  waiting(error: UnavailableError): void
}

function createPersist({ clock, signal, waiting }: PersistOptions): Persist {
  return async (work) => {
    let sinceMs: number | null = null
    for (let attempt = 0; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        if (!(error instanceof UnavailableError) || signal.aborted) throw error
        if (sinceMs === null) waiting(error)
        sinceMs ??= clock.monotonicMs()
        if (clock.monotonicMs() - sinceMs > PATIENCE_MS) throw error
      }
      await sleep(waitMs(attempt), undefined, { signal }).catch(() => {})
    }
  }
}

/** Doubles with each attempt. Jitter keeps builds that wait for the same disk from coming back at the same moment. */
function waitMs(attempt: number): number {
  return Math.min(FIRST_WAIT_MS * 2 ** attempt, MAX_WAIT_MS) * (0.5 + Math.random() / 2)
}

interface Patients {
  readonly journal: BuildJournal
  readonly spool: BuildSpool
  readonly clock: Clock
  readonly log: Log
}

/** The same dependencies, but calls of journal and spool are tried again while they are unavailable, until `signal` aborts. */
export function patient<D extends Patients>(deps: D, archiveId: string, signal: AbortSignal): D {
  const { journal, spool, clock, log } = deps
  const waiting = (error: unknown) => log.warn('build waits', { archive: archiveId, error: describe(error) })
  const persist = createPersist({ clock, signal, waiting })
  return { ...deps, journal: patientJournal(journal, persist), spool: patientSpool(spool, persist) }
}

/** The part of the journal that a build uses. */
export type BuildJournal = Pick<Journal, 'get' | 'manifest' | 'append' | 'facts' | 'entryFacts'>

function patientJournal(journal: BuildJournal, persist: Persist): BuildJournal {
  return {
    get: (...asked) => persist(() => journal.get(...asked)),
    manifest: (...asked) => persist(() => journal.manifest(...asked)),
    append: (...asked) => persist(() => journal.append(...asked)),
    facts: (...asked) => persist(() => journal.facts(...asked)),
    entryFacts: (...asked) => persist(() => journal.entryFacts(...asked)),
  }
}

/** The part of the spool that a build uses. */
export type BuildSpool = Pick<Spool, 'writer' | 'reader' | 'remove'>

function patientSpool(spool: BuildSpool, persist: Persist): BuildSpool {
  return {
    writer: async (...asked) => patientWriter(await persist(() => spool.writer(...asked)), persist),
    reader: (archiveId) => patientReader(spool.reader(archiveId), persist),
    remove: (archiveId) => persist(() => spool.remove(archiveId)),
  }
}

/** A write that failed can be tried again, because it goes to the same offset. */
function patientWriter(writer: SpoolWriter, persist: Persist): SpoolWriter {
  return {
    log: writer.log,
    get logBytes() {
      return writer.logBytes
    },
    discardRest: () => persist(() => writer.discardRest()),
    appendLog: (buffers) => persist(() => writer.appendLog(buffers)),
    createPart: async () => patientPart(await persist(() => writer.createPart()), persist),
    reopenPart: async (...asked) => patientPart(await persist(() => writer.reopenPart(...asked)), persist),
    discardPart: (file) => persist(() => writer.discardPart(file)),
    sync: () => persist(() => writer.sync()),
    [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
  }
}

function patientPart(part: PartWriter, persist: Persist): PartWriter {
  return {
    file: part.file,
    write: (buffers) => persist(() => part.write(buffers)),
    close: () => part.close(),
    discard: () => persist(() => part.discard()),
  }
}

function patientReader(reader: SpoolReader, persist: Persist): SpoolReader {
  return {
    read: (...asked) => persist(() => reader.read(...asked)),
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
  }
}
