// Removes expired archives, old tombstones, and spooled bytes that belong to no archive of the journal.
import type { ArchiveId } from '#contracts/archive.ts'
import type { Clock } from '../lib/clock.ts'
import { describe, type Log } from '../lib/log.ts'
import type { Journal } from '../ports/journal.ts'
import { makingRoom } from '../ports/no-space.ts'
import type { Spool, SpoolRoom } from '../ports/spool.ts'
import type { Attendance } from './attendance.ts'
import type { Expiry } from './expiry.ts'

export interface SweeperOptions {
  journal: Journal
  spool: Spool & SpoolRoom
  attendance: Attendance
  clock: Clock
  expiry: Expiry
  log: Log
  /** How long the key of a swept archive is answered with GONE. */
  tombstoneMs: number
  everyMs: number
  /** Called when only a tombstone is left of an archive. */
  swept(archiveId: ArchiveId): void
}

export interface Sweeper extends AsyncDisposable {
  /** Removes spooled bytes that belong to no archive. The caller awaits this before it builds. Failures are tried again. */
  sweepOrphans(): Promise<void>
  start(): void
}

/**
 * How long bytes are kept that a damaged journal may have known, so that an operator can inspect both. They are removed
 * earlier if the disk is full.
 */
const KEPT_ASIDE_MS = 24 * 3_600_000
const MIN_ROOM_BYTES = 1024 * 1024
/** One in so many sweeps looks at all folders, even if nothing failed before. */
const SWEEPS_A_LOOK = 10

export function createSweeper(options: SweeperOptions): Sweeper {
  const { journal, spool, attendance, clock, expiry, log, tombstoneMs, everyMs, swept } = options
  let timer: NodeJS.Timeout | null = null
  let sweeping: Promise<void> = Promise.resolve()
  let closing = false
  /** A removal failed or was put off, so the next sweep looks at all folders. */
  let isLeft = false
  let sweeps = 0

  async function bury(archiveId: string, nowMs: number): Promise<void> {
    const removeBytes = () => spool.remove(archiveId)
    await makingRoom(() => journal.bury(archiveId, nowMs), removeBytes)
    swept(archiveId)
    log.info('archive expired', { archive: archiveId })
    await remove(archiveId)
  }

  async function remove(archiveId: string): Promise<boolean> {
    try {
      await spool.remove(archiveId)
      return true
    } catch (error) {
      isLeft = true
      log.warn('bytes could not be removed; tried again later', { archive: archiveId, error: describe(error) })
      return false
    }
  }

  async function sweepExpired(): Promise<void> {
    const nowMs = expiry()
    for (const archiveId of await journal.expired(nowMs)) {
      // A download under way keeps its archive. The download has its own deadline.
      if (closing || attendance.attended(archiveId)) continue
      try {
        await bury(archiveId, nowMs)
      } catch (error) {
        log.error('archive could not be swept', { archive: archiveId, error: describe(error) })
      }
    }
    await journal.forget(nowMs - tombstoneMs)
  }

  async function sweepOrphans(): Promise<void> {
    isLeft = false
    // The folders are listed first, so an archive that is accepted in between is not among them.
    const folders = await spool.list()
    const states = new Map((await journal.holdings()).map(({ archiveId, state }) => [archiveId, state]))
    for (const archiveId of folders) {
      const state = states.get(archiveId)
      if (state === 'unfinished' || state === 'sealed') continue
      if (state === undefined && (await isKeptAside(archiveId))) continue
      if (await remove(archiveId)) log.info('orphan removed', { archive: archiveId })
    }
  }

  async function isKeptAside(archiveId: string): Promise<boolean> {
    const { damagedAtMs } = journal
    if (damagedAtMs === null || clock.wallMs() - damagedAtMs > KEPT_ASIDE_MS) return false
    if ((await journal.get(archiveId)) !== null) return false
    isLeft = true
    return (await spool.room()).freeBytes >= MIN_ROOM_BYTES
  }

  async function sweep(): Promise<void> {
    await sweepExpired()
    if (isLeft || ++sweeps % SWEEPS_A_LOOK === 0) await sweepOrphans()
    // Each step is short, and other work gets a turn in between.
    while (!closing && (await journal.reclaim())) await new Promise(setImmediate)
  }

  const logged = (work: Promise<void>) =>
    work.catch((error) => {
      isLeft = true
      log.error('sweep failed', { error: describe(error) })
    })

  return {
    sweepOrphans: () => logged(sweepOrphans()),
    start() {
      timer = setInterval(() => {
        sweeping = sweeping.then(() => logged(sweep()))
      }, everyMs)
      timer.unref()
    },
    async [Symbol.asyncDispose]() {
      closing = true
      if (timer !== null) clearInterval(timer)
      await sweeping
    },
  }
}
