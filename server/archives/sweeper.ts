// Clears away what nobody may want any more: expired archives, old tombstones, and at the start what no fact speaks of.

import type { ArchiveId } from '#contracts/archive.ts'
import type { Clock } from '../lib/clock.ts'
import { describe, type Log } from '../lib/log.ts'
import type { Journal } from '../ports/journal.ts'
import { NoSpaceError } from '../ports/no-space.ts'
import type { Spool } from '../ports/spool.ts'
import type { Attendance } from './attendance.ts'

export interface SweeperOptions {
  journal: Journal
  spool: Spool
  attendance: Attendance
  clock: Clock
  log: Log
  /** How long a swept archive's key is answered with GONE. */
  tombstoneMs: number
  everyMs: number
  /** An archive is nothing but a tombstone now. */
  swept(archiveId: ArchiveId): void
}

export interface Sweeper extends AsyncDisposable {
  /** Removes spooled bytes that belong to no archive. To be awaited before anything is built. */
  sweepOrphans(): Promise<void>
  start(): void
}

export function createSweeper({
  journal,
  spool,
  attendance,
  clock,
  log,
  tombstoneMs,
  everyMs,
  swept,
}: SweeperOptions): Sweeper {
  let timer: NodeJS.Timeout | null = null
  let sweeping: Promise<void> = Promise.resolve()
  let closing = false

  async function sweep(): Promise<void> {
    const nowMs = clock.wallMs()
    for (const archiveId of await journal.expired(nowMs)) {
      // A download under way keeps its archive; its own deadline ends it.
      if (attendance.attended(archiveId)) continue
      try {
        await journal.bury(archiveId, nowMs)
      } catch (error) {
        if (!(error instanceof NoSpaceError)) throw error
        // Where the disk is full, there is room for the tombstone once the bytes are gone.
        await spool.remove(archiveId)
        await journal.bury(archiveId, nowMs)
      }
      await spool.remove(archiveId)
      swept(archiveId)
      log.info('archive expired', { archive: archiveId })
    }
    await journal.forget(nowMs - tombstoneMs)
    // Each step is brief, and whatever else there is to do comes in between.
    while (!closing && (await journal.reclaim())) await new Promise(setImmediate)
  }

  return {
    async sweepOrphans() {
      const kept = new Set(await journal.kept())
      for (const archiveId of await spool.list()) {
        const record = kept.has(archiveId) ? await journal.get(archiveId) : null
        if (record !== null && record.terminal?.type !== 'aborted') continue
        await spool.remove(archiveId)
        log.info('orphan removed', { archive: archiveId })
      }
    },
    start() {
      timer = setInterval(() => {
        sweeping = sweep().catch((error) => log.error('sweep failed', { error: describe(error) }))
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
