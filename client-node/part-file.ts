// Owns the unfinished file next to the target: writes it in order, reads it back to check, then renames or removes it.
import { randomBytes } from 'node:crypto'
import { type FileHandle, open, realpath, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, parse } from 'node:path'
import type { RandomAccess } from './check.ts'
import type { ByteSink } from './download.ts'

export interface PartFile extends ByteSink, RandomAccess, AsyncDisposable {
  readonly path: string
  /** Resolves once all that was written can be read. */
  flush(): Promise<void>
  /** Gives the file its final name, and resolves to it. */
  keep(): Promise<string>
}

export interface PartFileOptions {
  /** If the target exists when the file is kept, 'replace' replaces it and 'number' takes another name. */
  ifTaken: 'replace' | 'number'
}

/** With writes of this size their number does not matter. At most twice as much is held in memory. */
const WRITE_BYTES = 256 * 1024

/** The most buffers that one writev takes on Linux. */
const MAX_CHUNKS = 1024

/** The most names that are tried: "archive.zip", "archive (2).zip" and so on. */
const MAX_NUMBER = 1000

/** Opens `<target>.part-<random>`. Disposing removes it, unless it was kept. */
export async function createPartFile(target: string, { ifTaken }: PartFileOptions): Promise<PartFile> {
  const finalPath = ifTaken === 'replace' ? await followLinks(target) : target
  // The target's name may be near the limit of 255 bytes, so it is cut before the suffix is added.
  const stem = Buffer.from(basename(finalPath)).subarray(0, 200).toString().replaceAll('\uFFFD', '')
  const path = join(dirname(finalPath), `${stem}.part-${randomBytes(6).toString('hex')}`)
  const handle = await open(path, 'wx+')
  let waiting: Uint8Array[] = []
  let waitingBytes = 0
  let writtenBytes = 0
  /** The write under way. It is awaited before the next write, which then reports its failure. */
  let writing: Promise<void> = Promise.resolve()
  let isOpen = true

  const flush = async () => {
    await writing
    const [chunks, position] = [waiting, writtenBytes]
    writtenBytes += waitingBytes
    waiting = []
    waitingBytes = 0
    if (chunks.length === 0) return
    writing = writeAll(handle, chunks, position)
    writing.catch(() => {})
  }
  const close = async () => {
    isOpen = false
    await writing.catch(() => {})
    await handle.close()
  }

  return {
    path,
    async write(chunk) {
      waiting.push(chunk)
      waitingBytes += chunk.length
      if (waitingBytes >= WRITE_BYTES || waiting.length >= MAX_CHUNKS) await flush()
    },
    async startOver() {
      waiting = []
      waitingBytes = 0
      await writing
      await handle.truncate(0)
      writtenBytes = 0
    },
    async flush() {
      await flush()
      await writing
    },
    async readInto(buffer, offset) {
      let done = 0
      while (done < buffer.length) {
        const { bytesRead } = await handle.read(buffer, done, buffer.length - done, offset + done)
        if (bytesRead === 0) break
        done += bytesRead
      }
      return done
    },
    async keep() {
      await flush()
      await writing
      // Without this sync before the rename, a power cut could leave an empty file in place of a good one.
      await handle.sync()
      await close()
      if (ifTaken === 'replace') {
        await rename(path, finalPath)
        await syncFolder(finalPath)
        return finalPath
      }
      const reserved = await reserve(finalPath)
      try {
        await rename(path, reserved)
        await syncFolder(reserved)
      } catch (error) {
        await rm(reserved, { force: true })
        throw error
      }
      return reserved
    },
    async [Symbol.asyncDispose]() {
      if (isOpen) await close()
      await rm(path, { force: true })
    },
  }
}

/** Syncs the folder so that the new name outlives a power cut. Some systems cannot do that, so failures are ignored. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), 'r').catch(() => null)
  await folder?.sync().catch(() => {})
  await folder?.close()
}

async function writeAll(handle: FileHandle, chunks: Uint8Array[], position: number): Promise<void> {
  const wanted = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  const { bytesWritten } = await handle.writev(chunks, position)
  if (bytesWritten === wanted) return
  // A short write (a full disk, a signal) may stop within any buffer, so the rest is copied into one.
  const rest = Buffer.concat(chunks).subarray(bytesWritten)
  for (let done = 0; done < rest.length; ) {
    const written = await handle.write(rest, done, rest.length - done, position + bytesWritten + done)
    done += written.bytesWritten
  }
}

/** A user who names a link wants its target to be replaced, not the link. */
async function followLinks(target: string): Promise<string> {
  return await realpath(target).catch(() => target)
}

/** Makes an empty file under the first free name, so that the rename can only replace a file of ours. */
async function reserve(target: string): Promise<string> {
  const { dir, base } = parse(target)
  const [, stem = base, extension = ''] = /^(.+?)((?:\.tar)?\.[^.]+)$/.exec(base) ?? []
  for (let number = 1; number <= MAX_NUMBER; number++) {
    const candidate = join(dir, number === 1 ? base : `${stem} (${number})${extension}`)
    try {
      await (await open(candidate, 'wx')).close()
      return candidate
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    }
  }
  throw new Error(`${target} and ${MAX_NUMBER - 1} numbered names are taken`)
}
