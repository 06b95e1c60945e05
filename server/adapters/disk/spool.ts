// The spool in local files: one folder an archive, in it the log and the parts. No file is ever patched.
import { readSync } from 'node:fs'
import { constants, type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type ArchiveId, archiveIdSchema } from '#contracts/archive.ts'
import {
  LOG,
  type PartWriter,
  type Spool,
  type SpoolReader,
  type SpoolRoom,
  type SpoolWriter,
} from '../../ports/spool.ts'
import { createFilePool, type FilePool, type PooledFile, spaceChecked, whenDescriptorsAllow } from './files.ts'
import { createSpace, type Space } from './space.ts'

const PART = /^part-(\d+)$/

export interface DiskSpoolOptions {
  /** Made if absent; nothing else may live in it. */
  directory: string
  /** What all archives together may take. @default Infinity: as much as the disk has */
  maxBytes?: number
  /** What else counts towards `maxBytes`, now. @default nothing */
  otherBytes?: () => number
  /** Free bytes of the file system that are left alone; costs one `statfs` a second. @default 0 */
  reserveBytes?: number
  /** Parts open for writing at a time; a part beyond it costs an open and a close with each write. @default 64 */
  maxOpenParts?: number
}

/** Removing lists folders, which takes descriptors too: Node repeats that when there is none. */
const REMOVE = { recursive: true, force: true, maxRetries: 20, retryDelay: 50 } as const

export async function createDiskSpool(options: DiskSpoolOptions): Promise<Spool & SpoolRoom> {
  const { directory, maxBytes = Number.POSITIVE_INFINITY, otherBytes = () => 0 } = options
  const { reserveBytes = 0, maxOpenParts = 64 } = options
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const space = createSpace({ directory, maxBytes, otherBytes, reserveBytes })
  const pool = createFilePool(maxOpenParts)
  const folderOf = (archiveId: ArchiveId) => join(directory, archiveIdSchema.parse(archiveId))
  /** By their folder: of archives that are being written. */
  const openLogs = new Map<string, FileHandle>()

  async function list(): Promise<ArchiveId[]> {
    const names = await readdir(directory)
    return names.filter((name) => archiveIdSchema.safeParse(name).success)
  }

  for (const archiveId of await list()) space.set(archiveId, await bytesIn(folderOf(archiveId)))

  return {
    async writer(archiveId, keep) {
      const folder = folderOf(archiveId)
      const parts = { share: shareOf(space, archiveId), pool, openLogs }
      // Where there was no folder there is nothing to look for: each look costs a turn of the loop.
      const firstMade = await spaceChecked(mkdir(folder, { recursive: true, mode: 0o700 }))
      if (firstMade !== undefined) return openWriter(folder, keep, parts)
      for (const file of await whenDescriptorsAllow(() => readdir(folder))) {
        if (file !== LOG && !keep.parts.has(file)) await rm(join(folder, file), REMOVE)
      }
      const writer = await openWriter(folder, keep, parts)
      space.set(archiveId, await bytesIn(folder))
      return writer
    },
    reader: (archiveId) => openReader(folderOf(archiveId), openLogs),
    async remove(archiveId) {
      await rm(folderOf(archiveId), REMOVE)
      space.clear(archiveId)
    },
    list,
    room: () => space.room(),
    bytesOf: (archiveId) => space.bytesOf(archiveId),
    async [Symbol.asyncDispose]() {},
  }
}

/** One archive's own account. */
interface Share {
  take(bytes: number): Promise<void>
  give(bytes: number): void
}

const shareOf = (space: Space, archiveId: ArchiveId): Share => ({
  take: (bytes) => space.take(archiveId, bytes),
  give: (bytes) => space.give(archiveId, bytes),
})

interface WriterParts {
  readonly share: Share
  readonly pool: FilePool
  readonly openLogs: Map<string, FileHandle>
}

async function openWriter(
  folder: string,
  keep: { logBytes: number; parts: ReadonlySet<string> },
  { share, pool, openLogs }: WriterParts,
): Promise<SpoolWriter> {
  // Without anything to keep, the kernel empties it.
  const flags = constants.O_RDWR | constants.O_CREAT | (keep.logBytes === 0 ? constants.O_TRUNC : 0)
  const log = await spaceChecked(whenDescriptorsAllow(() => open(join(folder, LOG), flags, 0o600)))
  try {
    if (keep.logBytes > 0) await log.truncate(Math.min(keep.logBytes, (await log.stat()).size))
  } catch (error) {
    // Node ends the process for a handle that is collected while it is open.
    await log.close()
    throw error
  }
  openLogs.set(folder, log)
  let logBytes = keep.logBytes
  let nextPart = 0
  for (const file of keep.parts) nextPart = Math.max(nextPart, 1 + Number(PART.exec(file)?.[1] ?? -1))
  const openParts = new Set<PartWriter>()
  const disposed = new AbortController()

  function openPart(file: string, flags: 'wx' | 'r+', keptBytes = 0): { part: PartWriter; pooled: PooledFile } {
    const path = join(folder, file)
    const pooled = pool.file(path, flags, disposed.signal)
    const part = partWriter({ file, path, pooled, share, keptBytes, onClosed: () => openParts.delete(part) })
    openParts.add(part)
    return { part, pooled }
  }

  return {
    get logBytes() {
      return logBytes
    },
    async appendLog(buffers) {
      logBytes += await writeAll(log, buffers, logBytes, share)
    },
    async createPart() {
      const file = `part-${nextPart++}`
      const { part, pooled } = openPart(file, 'wx')
      await pooled.use(async () => {})
      return part
    },
    async reopenPart(file, keepBytes) {
      const { part, pooled } = openPart(file, 'r+', keepBytes)
      await pooled.use(async (handle) => {
        const { size } = await handle.stat()
        await handle.truncate(keepBytes)
        share.give(Math.max(0, size - keepBytes))
      })
      return part
    },
    async discardPart(file) {
      const bytes = await sizeOf(join(folder, file))
      await rm(join(folder, file), { force: true })
      share.give(bytes)
    },
    async sync() {
      await log.datasync()
      for (const file of await whenDescriptorsAllow(() => readdir(folder))) {
        if (file === LOG) continue
        await using handle = await whenDescriptorsAllow(() => open(join(folder, file), 'r'))
        await handle.datasync()
      }
      await using handle = await whenDescriptorsAllow(() => open(folder, 'r'))
      await handle.sync()
    },
    async [Symbol.asyncDispose]() {
      disposed.abort()
      if (openLogs.get(folder) === log) openLogs.delete(folder)
      // All are closed, also where one of them fails.
      await Promise.all([...[...openParts].map((part) => part.close()), log.close()])
    },
  }
}

interface PartWriterOptions {
  file: string
  path: string
  pooled: PooledFile
  share: Share
  keptBytes: number
  onClosed: () => void
}

function partWriter({ file, path, pooled, share, keptBytes, onClosed }: PartWriterOptions): PartWriter {
  let written = keptBytes
  let closing: Promise<void> | null = null
  const close = () => {
    closing ??= pooled.close().finally(onClosed)
    return closing
  }
  return {
    file,
    async write(buffers) {
      written += await pooled.use((handle) => writeAll(handle, buffers, written, share))
    },
    close,
    async discard() {
      await close()
      const bytes = await sizeOf(path)
      await rm(path, { force: true })
      share.give(bytes)
    },
  }
}

function openReader(folder: string, openLogs: ReadonlyMap<string, FileHandle>): SpoolReader {
  // The log, and of parts only the last one read, stay open: a reader walks them in order.
  const handles = new Map<string, FileHandle>()
  /** Reads take turns, so that none closes the file of another. */
  let turn: Promise<unknown> = Promise.resolve()
  let reading = 0
  let isOpening = false
  const closed = new AbortController()

  async function handleOf(file: string): Promise<FileHandle> {
    if (closed.signal.aborted) throw new Error('the reader is closed')
    const known = handles.get(file)
    if (known !== undefined) return known
    const handle = await whenDescriptorsAllow(() => open(join(folder, file), 'r'), closed)
    handles.set(file, handle)
    if (file !== LOG) await closeAll((other) => other !== LOG && other !== file)
    return handle
  }

  /** The log that is being written is open already, by its writer. Our own is opened for the time after that. */
  function borrowedLog(): FileHandle | undefined {
    const log = openLogs.get(folder)
    if (log === undefined || isOpening) return log
    isOpening = true
    turn = turn.then(() => handleOf(LOG)).catch(() => {})
    return log
  }

  async function closeAll(matches: (file: string) => boolean): Promise<void> {
    const closing = [...handles].filter(([file]) => matches(file))
    for (const [file] of closing) handles.delete(file)
    await Promise.all(closing.map(([, handle]) => handle.close()))
  }

  return {
    read(file, offset, target) {
      reading++
      const result = turn.then(async () => {
        try {
          const handle = await handleOf(file)
          return (await handle.read(target, 0, target.length, offset)).bytesRead
        } finally {
          // Before whoever waits for it goes on, as the next bytes may be at hand.
          reading--
        }
      })
      turn = result.catch(() => {})
      return result
    },
    // From the page cache it takes a few microseconds; to ask a thread for it takes a hundred.
    readRecent(file, offset, target) {
      if (reading > 0 || closed.signal.aborted) return null
      const handle = handles.get(file) ?? (file === LOG ? borrowedLog() : undefined)
      if (handle === undefined) return null
      return readSync(handle.fd, target, 0, target.length, offset)
    },
    async [Symbol.asyncDispose]() {
      closed.abort()
      await turn
      await closeAll(() => true)
    },
  }
}

/** All of it, however often the kernel takes less (a full disk shows as a short write first). */
async function writeAll(
  handle: FileHandle,
  buffers: readonly Uint8Array[],
  position: number,
  share: Share,
): Promise<number> {
  const total = buffers.reduce((sum, { length }) => sum + length, 0)
  await share.take(total)
  try {
    await writeOut(handle, buffers, position, total)
  } catch (error) {
    // Of what did arrive the next write takes the place.
    share.give(total)
    throw error
  }
  return total
}

async function writeOut(
  handle: FileHandle,
  buffers: readonly Uint8Array[],
  position: number,
  total: number,
): Promise<void> {
  let rest = buffers as Uint8Array[]
  for (let done = 0; done < total; ) {
    const { bytesWritten } = await spaceChecked(handle.writev(rest, position + done))
    done += bytesWritten
    if (done < total) rest = dropFirst(rest, bytesWritten)
  }
}

function dropFirst(buffers: Uint8Array[], bytes: number): Uint8Array[] {
  let skipped = 0
  while (bytes >= (buffers[skipped]?.length ?? Infinity)) bytes -= buffers[skipped++]!.length
  const [first, ...rest] = buffers.slice(skipped)
  return first === undefined ? [] : [first.subarray(bytes), ...rest]
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => null)
  return found?.size ?? 0
}

async function bytesIn(folder: string): Promise<number> {
  const files = await whenDescriptorsAllow(() => readdir(folder)).catch(() => [])
  let bytes = 0
  for (const file of files) bytes += await sizeOf(join(folder, file))
  return bytes
}
