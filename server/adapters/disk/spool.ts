// The spool in local files. Each archive has a folder with its log and its parts. No file is ever patched.
import { type FileHandle, mkdir, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type ArchiveId, archiveIdSchema } from '#contracts/archive.ts'
import { groupCommit } from '../../lib/group-commit.ts'
import { syncFolder } from '../../lib/sync-folder.ts'
import type { Spool, SpoolRoom } from '../../ports/spool.ts'
import { UnavailableError } from '../../ports/unavailable.ts'
import { asPort, createFilePool, whenDescriptorsAllow } from './files.ts'
import { openReader } from './reader.ts'
import { createSpace, type Space } from './space.ts'
import { bytesIn, openWriter, removeAll, type Share, syncNames } from './writer.ts'

export interface DiskSpoolOptions {
  /** Created if absent. Nothing else may be in it. */
  directory: string
  /** What all archives together may take. @default Infinity, which means as much as the disk has */
  maxBytes?: number
  /** Bytes outside of the spool that count towards `maxBytes` now. @default nothing */
  otherBytes?: () => number
  /** Free bytes of the file system that are left alone. This costs one `statfs` a second. @default 0 */
  reserveBytes?: number
  /** Parts open for writing at a time. Each write to a part beyond them costs an open and a close. @default 64 */
  maxOpenParts?: number
}

export async function createDiskSpool(options: DiskSpoolOptions): Promise<Spool & SpoolRoom> {
  const { directory, maxBytes = Number.POSITIVE_INFINITY, otherBytes = () => 0 } = options
  const { reserveBytes = 0, maxOpenParts = 64 } = options
  await mkdir(directory, { recursive: true, mode: 0o700 })
  // The spool's own name, and that of the folder that it is in.
  for (const path of [dirname(directory), dirname(dirname(directory))]) syncFolder(path)
  const space = createSpace({ directory, maxBytes, otherBytes, reserveBytes })
  const pool = createFilePool(maxOpenParts)
  const folderOf = (archiveId: ArchiveId) => join(directory, archiveIdSchema.parse(archiveId))
  /** The logs of archives that are being written, by folder. */
  const openLogs = new Map<string, FileHandle>()
  /** Folders that have a writer, from the call of `writer` until the writer is closed. */
  const writing = new Set<string>()
  const mustWriteAgain = new Set<string>()
  /** Archives that end at the same time share one sync. */
  const syncSpool = groupCommit(() => syncNames(directory))

  async function list(): Promise<ArchiveId[]> {
    const names = await whenDescriptorsAllow(() => readdir(directory))
    return names.filter((name) => archiveIdSchema.safeParse(name).success)
  }

  for (const archiveId of await list()) space.set(archiveId, await bytesIn(folderOf(archiveId)))

  return {
    async writer(archiveId, keep) {
      const folder = folderOf(archiveId)
      if (writing.has(folder)) throw new UnavailableError(`archive ${archiveId} is being written`)
      writing.add(folder)
      const closed = () => writing.delete(folder)
      try {
        const firstMade = await asPort(mkdir(folder, { recursive: true, mode: 0o700 }))
        const recount = async () => space.set(archiveId, await bytesIn(folder))
        const isNew = firstMade !== undefined
        return await openWriter(folder, keep, {
          share: shareOf(space, archiveId),
          pool,
          openLogs,
          isNew,
          recount,
          closed,
          syncSpool,
          mustWriteAgain,
        })
      } catch (error) {
        closed()
        throw error
      }
    },
    reader: (archiveId) => openReader(folderOf(archiveId), openLogs),
    async remove(archiveId) {
      const folder = folderOf(archiveId)
      await removeAll(folder)
      mustWriteAgain.delete(folder)
      space.clear(archiveId)
    },
    list,
    room: () => space.room(),
    bytesOf: (archiveId) => space.bytesOf(archiveId),
    async [Symbol.asyncDispose]() {},
  }
}

const shareOf = (space: Space, archiveId: ArchiveId): Share => ({
  take: (bytes) => space.take(archiveId, bytes),
  give: (bytes) => space.give(archiveId, bytes),
})
