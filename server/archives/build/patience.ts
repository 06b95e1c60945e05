// Has a build wait while journal or spool cannot: it tries again for a while, and what it was doing goes on if that helps.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../lib/clock.ts'
import { describe, type Log } from '../../lib/log.ts'
import type { Journal } from '../../ports/journal.ts'
import type { PartWriter, Spool, SpoolReader, SpoolWriter } from '../../ports/spool.ts'
import { UnavailableError } from '../../ports/unavailable.ts'

/** After so long it is no hiccup: the build stops where it stands, and is begun again later. */
const PATIENCE_MS = 60_000
const FIRST_WAIT_MS = 200
const MAX_WAIT_MS = 5_000

/** Does the work, again and again while it ends as an `UnavailableError`. */
type Persist = <T>(work: () => Promise<T>) => Promise<T>

interface PersistOptions {
  clock: Clock
  /** Nothing is waited for any more once it aborts. */
  signal: AbortSignal
  /** The first of a row of failures. */
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

/** Doubling, with jitter: all builds wait for the same disk, and shall not come back to it at once. */
function waitMs(attempt: number): number {
  return Math.min(FIRST_WAIT_MS * 2 ** attempt, MAX_WAIT_MS) * (0.5 + Math.random() / 2)
}

interface Patients {
  readonly journal: BuildJournal
  readonly spool: BuildSpool
  readonly clock: Clock
  readonly log: Log
}

/** The same, but journal and spool are asked again while they cannot answer, until `signal` aborts. */
export function patient<D extends Patients>(deps: D, archiveId: string, signal: AbortSignal): D {
  const { journal, spool, clock, log } = deps
  const waiting = (error: unknown) => log.warn('build waits', { archive: archiveId, error: describe(error) })
  const persist = createPersist({ clock, signal, waiting })
  return { ...deps, journal: patientJournal(journal, persist), spool: patientSpool(spool, persist) }
}

/** What a build asks of its journal. */
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

/** What a build asks of its spool. */
export type BuildSpool = Pick<Spool, 'writer' | 'reader' | 'remove'>

function patientSpool(spool: BuildSpool, persist: Persist): BuildSpool {
  return {
    writer: async (...asked) => patientWriter(await persist(() => spool.writer(...asked)), persist),
    reader: (archiveId) => patientReader(spool.reader(archiveId), persist),
    remove: (archiveId) => persist(() => spool.remove(archiveId)),
  }
}

/** A write that failed may be made again: it goes to the same place. */
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
