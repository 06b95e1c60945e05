// Writes the files of one archive in the spool: its log and its parts. Makes them outlive a power failure.
import { constants, type FileHandle, open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Keep, LOG, type PartWriter, type SpoolWriter } from '../../ports/spool.ts'
import { asPort, type FilePool, type PooledFile, whenDescriptorsAllow } from './files.ts'

const PART = /^part-(\d+)$/

/** A writer that is just ending may still add a file, so removal is retried. It does not wait for a longer one. */
const REMOVE = { recursive: true, force: true, maxRetries: 3, retryDelay: 50 } as const

/** Removing a folder lists it, which needs a descriptor. */
export const removeAll = (path: string) => whenDescriptorsAllow(() => rm(path, REMOVE))

/** The archive's account of disk space. */
export interface Share {
  take(bytes: number): Promise<void>
  give(bytes: number): void
}

export interface WriterDeps {
  readonly share: Share
  readonly pool: FilePool
  readonly openLogs: Map<string, FileHandle>
  /** True if the folder was just created. It is then not searched for old files, which would cost turns of the loop. */
  readonly isNew: boolean
  /** Counts again what the archive holds. */
  recount(): Promise<void>
  closed(): void
  /** Resolves once the names of all folders outlive a power failure. */
  syncSpool(): Promise<void>
  /** Folders whose sync failed. The kernel then counts unwritten pages as written, so another sync would lie. */
  readonly mustWriteAgain: Set<string>
}

export async function openWriter(
  folder: string,
  keep: Keep,
  { share, pool, openLogs, isNew, recount, closed, syncSpool, mustWriteAgain }: WriterDeps,
): Promise<SpoolWriter> {
  const flags = constants.O_RDWR | constants.O_CREAT
  const log = await whenDescriptorsAllow(() => open(join(folder, LOG), flags, 0o600))
  openLogs.set(folder, log)
  let logBytes = keep.get(LOG) ?? 0
  let nextPart = 0
  for (const file of keep.keys()) nextPart = Math.max(nextPart, 1 + Number(PART.exec(file)?.[1] ?? -1))
  const openParts = new Set<PartWriter>()
  const disposed = new AbortController()

  function openPart(file: string, flags: 'wx' | 'r+', keptBytes = 0): { part: PartWriter; pooled: PooledFile } {
    const path = join(folder, file)
    const pooled = pool.file(path, flags, disposed.signal)
    const part = partWriter({ file, path, pooled, share, keptBytes, onClosed: () => openParts.delete(part) })
    openParts.add(part)
    return { part, pooled }
  }

  async function syncParts(parts: readonly string[]): Promise<void> {
    for (const file of parts) {
      await using handle = await whenDescriptorsAllow(() => open(join(folder, file), 'r'))
      await asPort(handle.datasync())
    }
  }

  return {
    log: LOG,
    get logBytes() {
      return logBytes
    },
    async discardRest() {
      if (isNew) return
      for (const file of await whenDescriptorsAllow(() => readdir(folder))) {
        if (file !== LOG && !keep.has(file)) await removeAll(join(folder, file))
      }
      await asPort(log.truncate(Math.min(keep.get(LOG) ?? 0, (await asPort(log.stat())).size)))
      await recount()
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
      await asPort(rm(join(folder, file), { force: true }))
      share.give(bytes)
    },
    async sync() {
      try {
        const files = await whenDescriptorsAllow(() => readdir(folder))
        const parts = files.filter((file) => file !== LOG)
        if (mustWriteAgain.has(folder)) for (const file of files) await writeAgain(join(folder, file))
        // A new file is found again only if the names in the folder and the folder's own name are synced too.
        await Promise.all([asPort(log.datasync()), syncParts(parts), syncNames(folder), syncSpool()])
        mustWriteAgain.delete(folder)
      } catch (error) {
        mustWriteAgain.add(folder)
        throw error
      }
    },
    async [Symbol.asyncDispose]() {
      disposed.abort()
      if (openLogs.get(folder) === log) openLogs.delete(folder)
      // All files are closed, even if closing one of them fails.
      await Promise.all([...[...openParts].map((part) => part.close()), log.close()]).finally(closed)
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
      await asPort(rm(path, { force: true }))
      share.give(bytes)
    },
  }
}

/** Writes all buffers, even if the kernel takes less at a time. On a full disk, the first sign is a short write. */
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
    // The next write starts at the same offset and overwrites whatever arrived.
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
    const { bytesWritten } = await asPort(handle.writev(rest, position + done))
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

export async function syncNames(folder: string): Promise<void> {
  await using handle = await whenDescriptorsAllow(() => open(folder, 'r'))
  await asPort(handle.sync())
}

/** Reads the file from the kernel's memory and writes it unchanged, so that all its pages are written to disk again. */
async function writeAgain(path: string): Promise<void> {
  await using handle = await whenDescriptorsAllow(() => open(path, 'r+'))
  const piece = Buffer.allocUnsafe(1024 * 1024)
  for (let at = 0; ; ) {
    const { bytesRead } = await asPort(handle.read(piece, 0, piece.length, at))
    if (bytesRead === 0) return
    const { bytesWritten } = await asPort(handle.write(piece, 0, bytesRead, at))
    at += bytesWritten
  }
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => null)
  return found?.size ?? 0
}

export async function bytesIn(folder: string): Promise<number> {
  const files = await whenDescriptorsAllow(() => readdir(folder)).catch(() => [])
  let bytes = 0
  for (const file of files) bytes += await sizeOf(join(folder, file))
  return bytes
}
