// Which archives are let in, and how long they count: places of unfinished ones, bytes of all. Refuses; builds nothing.
import type { ArchiveId } from '#contracts/archive.ts'
import { Refusal } from '#contracts/failures.ts'
import type { Clock } from '../lib/clock.ts'
import { describe, type Log } from '../lib/log.ts'
import type { Quota } from '../lib/quota.ts'
import type { ArchiveRecord, Journal } from '../ports/journal.ts'
import type { SpoolRoom } from '../ports/spool.ts'
import type { Excess, Holdings } from './holdings.ts'

export interface AdmissionOptions {
  /** Of unfinished archives, by client. */
  places: Quota
  holdings: Holdings
  journal: Journal
  spool: SpoolRoom
  clock: Clock
  log: Log
  /** The archive has to end: its client takes more of the disk than it may. Resolves when its bytes are gone. */
  overdrawn(archiveId: ArchiveId): Promise<void>
}

export interface Admission extends AsyncDisposable {
  /** Counts what an earlier process left. To be awaited before anything else. */
  restore(): Promise<void>
  /**
   * Takes a place for an archive that is about to be accepted, before anything is awaited. Disposing gives it back, unless
   * the archive was accepted in between.
   * @throws Refusal BUSY or NO_SPACE
   */
  reserve(archiveId: ArchiveId, client: string, manifestBytes: number, totalEntries: number): Disposable
  /** The archive is in the journal. Idempotent. */
  accepted(record: ArchiveRecord): void
  /** A build of the archive is over. If the archive has ended with it, its place is free, and it takes what it takes. */
  ended(archiveId: ArchiveId): Promise<void>
  /** The archive is swept: it takes nothing any more. */
  swept(archiveId: ArchiveId): void
}

interface Unfinished {
  readonly client: string
  readonly place: Disposable
  isAccepted: boolean
}

/** How often bytes are looked at: a client gets this much further than it may. */
const LOOK_EVERY_MS = 250
/** The counts of a day may be so much too low after a crash. */
const KEEP_EVERY_MS = 1_000
/** What the facts about an entry will take of the journal, roughly; how much it was is known at the end. */
const FACTS_BYTES_PER_ENTRY = 200
/** Space comes back as archives expire, which is looked for every minute at most: sooner is hardly worth a call. */
export const NO_SPACE_RETRY_MS = 10_000
const DAY_MS = 86_400_000

export function createAdmission(options: AdmissionOptions): Admission {
  const { places, holdings, journal, spool, clock, log, overdrawn } = options
  const unfinished = new Map<ArchiveId, Unfinished>()
  /** Clients of which an archive is being ended: its bytes are about to come back. */
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
      // Somebody else is about to accept the same archive.
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
      // Whoever reserved it failed to accept it, and somebody else has.
      unfinished.set(archiveId, { client, place: places.hold(client), isAccepted: true })
      holdings.set(archiveId, client, { journalBytes })
    },
    async ended(archiveId) {
      const record = await journal.get(archiveId)
      // Stopped where it stood: to be continued, by this process or the next.
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
