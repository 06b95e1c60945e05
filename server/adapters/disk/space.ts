// Bounds what the spool takes of its disk: counts what each archive holds, and refuses writes beyond a limit.
import { statfs } from 'node:fs/promises'
import type { ArchiveId } from '#contracts/archive.ts'
import { systemClock } from '../../lib/clock.ts'
import { NoSpaceError } from '../../ports/no-space.ts'
import type { Room } from '../../ports/spool.ts'
import { asPort } from './files.ts'

export interface SpaceOptions {
  directory: string
  /** The limit for all files together with `otherBytes`. */
  maxBytes: number
  /** Bytes outside of the spool that count towards `maxBytes`. */
  otherBytes: () => number
  /** Free bytes of the file system that are left to others, such as the journal. 0: writes go on until it is full. */
  reserveBytes: number
}

export interface Space {
  /** Sets what the archive holds, as it was found on the disk. */
  set(archiveId: ArchiveId, bytes: number): void
  /**
   * Must be called before the bytes are written.
   * @throws NoSpaceError
   */
  take(archiveId: ArchiveId, bytes: number): Promise<void>
  /** The bytes were not written after all, or have been removed. */
  give(archiveId: ArchiveId, bytes: number): void
  /** Everything of the archive has been removed. */
  clear(archiveId: ArchiveId): void
  bytesOf(archiveId: ArchiveId): number
  room(): Promise<Room>
}

/** The file system is asked again after this time. In between, the bytes written here are counted. */
const MEASURED_FOR_MS = 1_000

export function createSpace({ directory, maxBytes, otherBytes, reserveBytes }: SpaceOptions): Space {
  const held = new Map<ArchiveId, number>()
  let usedBytes = 0
  /** Bytes beyond the reserve that were free at the last measurement, minus what was taken since. */
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
    // A writer of an archive that has been removed gives back bytes that are no longer counted.
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
      // The bytes are counted before the disk is asked, because others may take bytes in the meantime.
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
