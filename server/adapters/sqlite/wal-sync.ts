// Makes commits outlive a power failure: syncs the WAL on a thread, once for all that wait, without blocking the loop.
import { closeSync, fdatasync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { groupCommit } from '../../lib/group-commit.ts'
import { UnavailableError } from '../../ports/unavailable.ts'

export interface WalSync {
  /** Notes a new commit about this archive that must not be reported before it outlives a power failure. */
  committed(archiveId: string): void
  /** Null if no commit of this archive waits to be synced; else resolves once all are. Rejects if the sync fails. */
  waiting(archiveId: string): Promise<void> | null
  /** Syncs all commits at once. It blocks the loop, so it is only for starts. */
  syncNow(): void
  close(): Promise<void>
}

const PIECE_BYTES = 1024 * 1024
const datasync = promisify(fdatasync)

/**
 * A commit is in the WAL as frames, and each frame vouches for the frames before it. Once they are synced, recovery
 * finds the commit (https://www.sqlite.org/fileformat.html section 4.1). SQLite itself syncs at checkpoints and when
 * the WAL restarts. The WAL stays the same file while the database is open. Closing a descriptor of the WAL drops no
 * lock: the locks are on the database file, which nothing else in this process may open and close.
 */
export function createWalSync(file: string): WalSync {
  const fd = openSync(`${file}-wal`, 'r+')
  let commits = 0
  /** The last unsynced commit of each archive. */
  const unsynced = new Map<string, number>()
  /** True after a failed sync. The kernel then counts unwritten pages as written, so another sync would lie. */
  let isSuspect = false

  const syncAll = groupCommit(async () => {
    const upTo = commits
    try {
      if (isSuspect) writeAgain(fd)
      await datasync(fd)
    } catch (error) {
      isSuspect = true
      throw new UnavailableError(`the journal cannot be synced: ${(error as Error).message}`, { cause: error })
    }
    isSuspect = false
    for (const [archiveId, commit] of unsynced) if (commit <= upTo) unsynced.delete(archiveId)
  })

  return {
    committed(archiveId) {
      unsynced.set(archiveId, ++commits)
    },
    waiting: (archiveId) => (unsynced.has(archiveId) ? syncAll() : null),
    syncNow: () => fdatasyncSync(fd),
    async close() {
      // A sync that is under way still uses the descriptor.
      await syncAll().catch(() => {})
      closeSync(fd)
    },
  }
}

/** Reads the file from the kernel's memory and writes it unchanged, so that all its pages are written to disk again. */
function writeAgain(fd: number): void {
  const { size } = fstatSync(fd)
  const piece = Buffer.allocUnsafe(Math.min(size, PIECE_BYTES))
  for (let at = 0; at < size; ) {
    const bytes = readSync(fd, piece, 0, piece.length, at)
    if (bytes === 0) return
    writeSync(fd, piece, 0, bytes, at)
    at += bytes
  }
}
