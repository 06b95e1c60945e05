// The spool in local files: one folder an archive, in it the log and the parts. No file is ever patched.
import { constants, type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type ArchiveId, archiveIdSchema } from '#contracts/archive.ts'
import { NoSpaceError } from '../../ports/no-space.ts'
import { LOG, type PartWriter, type Spool, type SpoolReader, type SpoolWriter } from '../../ports/spool.ts'

const PART = /^part-(\d+)$/

export interface DiskSpoolOptions {
  /** Made if absent; nothing else may live in it. */
  directory: string
}

export async function createDiskSpool({ directory }: DiskSpoolOptions): Promise<Spool> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const folderOf = (archiveId: ArchiveId) => join(directory, archiveIdSchema.parse(archiveId))

  return {
    async writer(archiveId, keep) {
      const folder = folderOf(archiveId)
      await spaceChecked(mkdir(folder, { recursive: true, mode: 0o700 }))
      for (const file of await readdir(folder)) {
        if (file !== LOG && !keep.parts.has(file)) await rm(join(folder, file), { recursive: true, force: true })
      }
      return openWriter(folder, keep)
    },
    reader: (archiveId) => openReader(folderOf(archiveId)),
    async remove(archiveId) {
      await rm(folderOf(archiveId), { recursive: true, force: true })
    },
    async list() {
      const names = await readdir(directory)
      return names.filter((name) => archiveIdSchema.safeParse(name).success)
    },
    async [Symbol.asyncDispose]() {},
  }
}

async function openWriter(
  folder: string,
  keep: { logBytes: number; parts: ReadonlySet<string> },
): Promise<SpoolWriter> {
  const log = await spaceChecked(open(join(folder, LOG), constants.O_RDWR | constants.O_CREAT, 0o600))
  await log.truncate(Math.min(keep.logBytes, (await log.stat()).size))
  let logBytes = keep.logBytes
  let nextPart = 0
  for (const file of keep.parts) nextPart = Math.max(nextPart, 1 + Number(PART.exec(file)?.[1] ?? -1))
  const openParts = new Set<PartWriter>()

  return {
    get logBytes() {
      return logBytes
    },
    async appendLog(buffers) {
      logBytes += await writeAll(log, buffers, logBytes)
    },
    async createPart() {
      const file = `part-${nextPart++}`
      const handle = await spaceChecked(open(join(folder, file), 'wx', 0o600))
      const part = partWriter(file, handle, join(folder, file), () => openParts.delete(part))
      openParts.add(part)
      return part
    },
    async discardPart(file) {
      await rm(join(folder, file), { force: true })
    },
    async sync() {
      await log.datasync()
      for (const file of await readdir(folder)) {
        if (file === LOG) continue
        await using handle = await open(join(folder, file), 'r')
        await handle.datasync()
      }
      await using handle = await open(folder, 'r')
      await handle.sync()
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...openParts].map((part) => part.close()))
      await log.close()
    },
  }
}

function partWriter(file: string, handle: FileHandle, path: string, onClosed: () => void): PartWriter {
  let written = 0
  let closing: Promise<void> | null = null
  const close = () => {
    closing ??= handle.close().finally(onClosed)
    return closing
  }
  return {
    file,
    async write(buffers) {
      written += await writeAll(handle, buffers, written)
    },
    close,
    async discard() {
      await close()
      await rm(path, { force: true })
    },
  }
}

function openReader(folder: string): SpoolReader {
  // The log, and of parts only the last one read, stay open: a reader walks them in order.
  const handles = new Map<string, FileHandle>()
  /** Reads take turns, so that none closes the file of another. */
  let turn: Promise<unknown> = Promise.resolve()
  let closed = false

  async function handleOf(file: string): Promise<FileHandle> {
    if (closed) throw new Error('the reader is closed')
    const known = handles.get(file)
    if (known !== undefined) return known
    const handle = await open(join(folder, file), 'r')
    if (file !== LOG) await closeAll((other) => other !== LOG)
    handles.set(file, handle)
    return handle
  }

  async function closeAll(matches: (file: string) => boolean): Promise<void> {
    for (const [file, handle] of handles) {
      if (!matches(file)) continue
      handles.delete(file)
      await handle.close()
    }
  }

  return {
    read(file, offset, target) {
      const result = turn.then(async () => {
        const handle = await handleOf(file)
        return (await handle.read(target, 0, target.length, offset)).bytesRead
      })
      turn = result.catch(() => {})
      return result
    },
    async [Symbol.asyncDispose]() {
      closed = true
      await turn
      await closeAll(() => true)
    },
  }
}

/** All of it, however often the kernel takes less (a full disk shows as a short write first). */
async function writeAll(handle: FileHandle, buffers: readonly Uint8Array[], position: number): Promise<number> {
  const total = buffers.reduce((sum, { length }) => sum + length, 0)
  let rest = buffers as Uint8Array[]
  for (let done = 0; done < total; ) {
    const { bytesWritten } = await spaceChecked(handle.writev(rest, position + done))
    done += bytesWritten
    if (done < total) rest = dropFirst(rest, bytesWritten)
  }
  return total
}

function dropFirst(buffers: Uint8Array[], bytes: number): Uint8Array[] {
  let skipped = 0
  while (bytes >= (buffers[skipped]?.length ?? Infinity)) bytes -= buffers[skipped++]!.length
  const [first, ...rest] = buffers.slice(skipped)
  return first === undefined ? [] : [first.subarray(bytes), ...rest]
}

async function spaceChecked<T>(operation: Promise<T>): Promise<T> {
  try {
    return await operation
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOSPC' || code === 'EDQUOT') throw new NoSpaceError('no space left in the spool', { cause: error })
    throw error
  }
}
