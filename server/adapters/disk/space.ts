// What the spool may take of its disk: counts what each archive holds, and says no before a limit is passed.
import { statfs } from 'node:fs/promises'
import type { ArchiveId } from '#contracts/archive.ts'
import { systemClock } from '../../lib/clock.ts'
import { NoSpaceError } from '../../ports/no-space.ts'
import type { Room } from '../../ports/spool.ts'
import { asPort } from './files.ts'

export interface SpaceOptions {
  directory: string
  /** Bytes of all files together, and of what `otherBytes` says. */
  maxBytes: number
  /** What else counts towards `maxBytes`. */
  otherBytes: () => number
  /** Free bytes of the file system that are left to others, the journal among them. 0: only a full disk is one. */
  reserveBytes: number
}

export interface Space {
  /** What the archive holds, as found on disk. */
  set(archiveId: ArchiveId, bytes: number): void
  /**
   * To be called before so many bytes are written.
   * @throws NoSpaceError
   */
  take(archiveId: ArchiveId, bytes: number): Promise<void>
  /** So many bytes were not written, or are removed. */
  give(archiveId: ArchiveId, bytes: number): void
  /** Everything of the archive is removed. */
  clear(archiveId: ArchiveId): void
  bytesOf(archiveId: ArchiveId): number
  room(): Promise<Room>
}

/** The file system is asked anew after this; what is written here in between is counted. */
const MEASURED_FOR_MS = 1_000

export function createSpace({ directory, maxBytes, otherBytes, reserveBytes }: SpaceOptions): Space {
  const held = new Map<ArchiveId, number>()
  let usedBytes = 0
  /** At the last measurement, less what was taken since. */
  let diskBytes = 0
  let measuredAtMs = Number.NEGATIVE_INFINITY

  async function measure(): Promise<void> {
    const { bavail, bsize } = await asPort(statfs(directory))
    diskBytes = bavail * bsize - reserveBytes
    measuredAtMs = systemClock.monotonicMs()
  }

  const isStale = () => systemClock.monotonicMs() - measuredAtMs > MEASURED_FOR_MS

  function add(archiveId: ArchiveId, bytes: number): void {
    held.set(archiveId, (held.get(archiveId) ?? 0) + bytes)
    usedBytes += bytes
    diskBytes -= bytes
  }

  function give(archiveId: ArchiveId, bytes: number): void {
    // Whoever still writes to an archive that was removed gives back what is no longer counted.
    const given = Math.min(bytes, held.get(archiveId) ?? 0)
    if (given > 0) add(archiveId, -given)
  }

  return {
    set(archiveId, bytes) {
      usedBytes += bytes - (held.get(archiveId) ?? 0)
      held.set(archiveId, bytes)
      measuredAtMs = Number.NEGATIVE_INFINITY
    },
    async take(archiveId, bytes) {
      const allBytes = usedBytes + otherBytes()
      if (allBytes + bytes > maxBytes) throw new NoSpaceError(`spool and journal hold ${allBytes} bytes of ${maxBytes}`)
      // Counted before the disk is asked: others take meanwhile.
      add(archiveId, bytes)
      if (reserveBytes === 0) return
      try {
        if (diskBytes < 0 || isStale()) {
          await measure()
          diskBytes -= bytes
          if (diskBytes < 0) throw new NoSpaceError(`the disk has no more than its reserve of ${reserveBytes} bytes`)
        }
      } catch (error) {
        give(archiveId, bytes)
        throw error
      }
    },
    give,
    clear(archiveId) {
      give(archiveId, held.get(archiveId) ?? 0)
      held.delete(archiveId)
    },
    bytesOf: (archiveId) => held.get(archiveId) ?? 0,
    async room() {
      if (isStale()) await measure()
      return { usedBytes, freeBytes: Math.max(0, Math.min(maxBytes - usedBytes - otherBytes(), diskBytes)) }
    },
  }
}
