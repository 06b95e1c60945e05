// Lets commits outlive a power failure: syncs the WAL on a thread, once for all that wait, so that the loop never does.
import { closeSync, fdatasync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { groupCommit } from '../../lib/group-commit.ts'
import { UnavailableError } from '../../ports/unavailable.ts'

export interface WalSync {
  /** A commit about this archive has just been made that nobody may be told of before it outlives a power failure. */
  committed(archiveId: string): void
  /** Null if nothing about this archive waits; else resolves once it does not. Rejects if it cannot be for now. */
  waiting(archiveId: string): Promise<void> | null
  /** The same for all, at once, with the loop waiting: for starts and ends. */
  syncNow(): void
  close(): Promise<void>
}

const PIECE_BYTES = 1024 * 1024
const datasync = promisify(fdatasync)

/**
 * A commit is in the WAL, as frames that each vouch for those before them; once these are synced, recovery finds it
 * (https://www.sqlite.org/fileformat.html section 4.1). Checkpoints sync by themselves, and so does SQLite when the WAL
 * begins anew. The file stays the same one while the database is open. A descriptor of one's own costs no lock: those are on
 * the database itself, which nobody else may open and close here.
 */
export function createWalSync(file: string): WalSync {
  const fd = openSync(`${file}-wal`, 'r+')
  let commits = 0
  /** The last commit about each archive that is not synced yet. */
  const unsynced = new Map<string, number>()
  /** After a sync that failed, the kernel takes pages for written that are not: the next one would lie. */
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
      // One that is under way has the descriptor still.
      await syncAll().catch(() => {})
      closeSync(fd)
    },
  }
}

/** What is in the file, from the kernel's memory, as it stands: so its pages are to be written once more. */
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
