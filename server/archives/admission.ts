// Decides which archives are accepted. Counts the unfinished archives and the bytes of each client. Builds nothing.
import type { ArchiveId } from '#contracts/archive.ts'
import { Refusal } from '#contracts/failures.ts'
import type { Clock } from '../lib/clock.ts'
import { describe, type Log } from '../lib/log.ts'
import type { Quota } from '../lib/quota.ts'
import type { ArchiveRecord, Journal } from '../ports/journal.ts'
import type { SpoolRoom } from '../ports/spool.ts'
import type { Excess, Holdings } from './holdings.ts'

export interface AdmissionOptions {
  /** One place for each unfinished archive, counted by client. */
  places: Quota
  holdings: Holdings
  journal: Journal
  spool: SpoolRoom
  clock: Clock
  log: Log
  /** Ends the archive, because its client takes more of the disk than it may. Resolves when its bytes are removed. */
  overdrawn(archiveId: ArchiveId): Promise<void>
}

export interface Admission extends AsyncDisposable {
  /** Counts the archives that an earlier process left. The caller awaits this before it calls anything else. */
  restore(): Promise<void>
  /**
   * Takes a place for an archive that is about to be accepted, without awaiting anything. Disposing the result releases the
   * place, unless `accepted` was called in between.
   * @throws Refusal BUSY or NO_SPACE
   */
  reserve(archiveId: ArchiveId, client: string, manifestBytes: number, totalEntries: number): Disposable
  /** Reports that the journal has the archive. May be called again for the same archive. */
  accepted(record: ArchiveRecord): void
  /** Reports that a build is over. If the archive has ended too, this releases its place and counts its final size. */
  ended(archiveId: ArchiveId): Promise<void>
  /** Reports that the archive was swept, so it takes no bytes any more. */
  swept(archiveId: ArchiveId): void
}

interface Unfinished {
  readonly client: string
  readonly place: Disposable
  isAccepted: boolean
}

/** How often the bytes are counted. A client can pass its limit by what it writes in this time. */
const LOOK_EVERY_MS = 250
/** How often the counts of a day are written to the journal. A crash loses what was counted since the last time. */
const KEEP_EVERY_MS = 1_000
/** An estimate of the journal bytes that the facts about one entry take. The true size is known when the archive ends. */
const FACTS_BYTES_PER_ENTRY = 200
/** Space is released when archives expire. The sweeper looks for them once a minute at most, so sooner calls rarely help. */
export const NO_SPACE_RETRY_MS = 10_000
const DAY_MS = 86_400_000

export function createAdmission(options: AdmissionOptions): Admission {
  const { places, holdings, journal, spool, clock, log, overdrawn } = options
  const unfinished = new Map<ArchiveId, Unfinished>()
  /** Clients that have an archive being ended. Its bytes are about to be released, so no second archive is ended meanwhile. */
  const shrinking = new Set<string>()
  let keptMs = clock.monotonicMs()
  let keeping: Promise<void> = Promise.resolve()

  function refusalFor(excess: Excess): Refusal {
    if (excess === 'journal') return new Refusal('NO_SPACE', undefined, NO_SPACE_RETRY_MS)
    if (excess === 'held') return new Refusal('NO_SPACE', 'this client holds as much as it may', NO_SPACE_RETRY_MS)
    return new Refusal('BUSY', 'this client has written as much as it may today', DAY_MS - (clock.wallMs() % DAY_MS))
  }

  function release(archiveId: ArchiveId): void {
    unfinished.get(archiveId)?.place[Symbol.dispose]()
    unfinished.delete(archiveId)
  }

  function look(): void {
    for (const [archiveId, { client, isAccepted }] of unfinished) {
      if (!isAccepted) continue
      holdings.set(archiveId, client, { spoolBytes: spool.bytesOf(archiveId) })
      if (!holdings.isOver(client) || shrinking.has(client)) continue
      shrinking.add(client)
      void overdrawn(archiveId).finally(() => shrinking.delete(client))
    }
    if (clock.monotonicMs() - keptMs < KEEP_EVERY_MS) return
    keptMs = clock.monotonicMs()
    keeping = keeping.then(keep)
  }

  async function keep(): Promise<void> {
    for (const { client, day, bytes } of holdings.takeUsage()) {
      try {
        await journal.addUsage(client, day, bytes)
      } catch (error) {
        log.warn('usage was not kept', { client, bytes, error: describe(error) })
      }
    }
  }

  const ticker = setInterval(look, LOOK_EVERY_MS).unref()

  return {
    async restore() {
      for (const { archiveId, client, journalBytes, state } of await journal.holdings()) {
        holdings.restore(archiveId, client, { journalBytes, spoolBytes: spool.bytesOf(archiveId) })
        if (state === 'unfinished') unfinished.set(archiveId, { client, place: places.hold(client), isAccepted: true })
      }
    },
    reserve(archiveId, client, manifestBytes, totalEntries) {
      // Another call is about to accept the same archive, and holds its place.
      if (unfinished.has(archiveId)) return { [Symbol.dispose]() {} }
      const journalBytes = manifestBytes + totalEntries * FACTS_BYTES_PER_ENTRY
      const excess = holdings.excessOf(client, journalBytes)
      if (excess !== null) throw refusalFor(excess)
      const place = places.take(client)
      if (place === null) throw new Refusal('BUSY')
      const reserved = { client, place, isAccepted: false }
      unfinished.set(archiveId, reserved)
      holdings.set(archiveId, client, { journalBytes })
      return {
        [Symbol.dispose]() {
          if (reserved.isAccepted || unfinished.get(archiveId) !== reserved) return
          release(archiveId)
          holdings.remove(archiveId)
        },
      }
    },
    accepted({ archiveId, client, journalBytes, terminal }) {
      if (terminal !== null) return
      const known = unfinished.get(archiveId)
      if (known !== undefined) {
        known.isAccepted = true
        return
      }
      // The call that reserved the place failed to accept the archive, but another call accepted it.
      unfinished.set(archiveId, { client, place: places.hold(client), isAccepted: true })
      holdings.set(archiveId, client, { journalBytes })
    },
    async ended(archiveId) {
      const record = await journal.get(archiveId)
      // The build was stopped. This process or the next continues it, so it keeps its place.
      if (record !== null && !record.swept && record.terminal === null) return
      release(archiveId)
      if (record === null || record.swept) return holdings.remove(archiveId)
      const { client, journalBytes } = record
      holdings.set(archiveId, client, { journalBytes, spoolBytes: spool.bytesOf(archiveId) })
    },
    swept(archiveId) {
      release(archiveId)
      holdings.remove(archiveId)
    },
    async [Symbol.asyncDispose]() {
      clearInterval(ticker)
      await keeping
      await keep()
    },
  }
}
