// Checks that a file is a whole archive: structure, order, the checksum of every entry. Reads only, window by window.
import { createHash, type Hash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { crc32, createGunzip, createInflateRaw } from 'node:zlib'
import type { ArchiveFormat } from '#contracts/archive.ts'
import { readForward, readTar } from '#contracts/formats/tar.ts'
import { type DirectoryEntry, parseLocalHeader, readDirectory } from '#contracts/formats/zip.ts'
import {
  CENTRAL_HEADER_SIGNATURE,
  END_SIGNATURE,
  LOCAL_HEADER_BYTES,
  METHOD_DEFLATE,
  METHOD_STORE,
  ZIP64_END_SIGNATURE,
} from '#contracts/formats/zip-layout.ts'
import { DownloadError } from './download.ts'

export interface RandomAccess {
  /** Fills the buffer with bytes from `offset`. Resolves to how many there were. */
  readInto(buffer: Uint8Array, offset: number): Promise<number>
}

export interface CheckOptions {
  signal?: AbortSignal
  /** Called for each entry of a zip, in order, once its bytes have been checked. */
  onEntry?: (entry: DirectoryEntry) => void
}

const WINDOW_BYTES = 1024 * 1024

/** Rejects with a DownloadError CORRUPT if the bytes are not a whole archive. */
export async function checkArchive(
  file: RandomAccess,
  sizeBytes: number,
  format: ArchiveFormat,
  options: CheckOptions = {},
): Promise<void> {
  try {
    if (format === 'zip') await checkZip(file, sizeBytes, options)
    else await checkTar(file, sizeBytes, format, options)
  } catch (error) {
    options.signal?.throwIfAborted()
    if (error instanceof DownloadError) throw error
    corrupt(error instanceof Error ? error.message : String(error), error)
  }
}

/** Rejects with a DownloadError CORRUPT if the file's SHA-256, in hexadecimal, is not this one. */
export async function checkDigest(
  file: RandomAccess,
  sizeBytes: number,
  sha256: string,
  signal?: AbortSignal,
): Promise<void> {
  const hash = createHash('sha256')
  for await (const chunk of readAll(file, sizeBytes)) {
    signal?.throwIfAborted()
    hash.update(chunk)
  }
  assertDigest(hash, sha256)
}

export function assertDigest(hash: Hash, sha256: string): void {
  const found = hash.digest('hex')
  if (found !== sha256) corrupt(`its SHA-256 is ${found}, not ${sha256}`)
}

function corrupt(message: string, cause?: unknown): never {
  throw new DownloadError('CORRUPT', `the archive is damaged: ${message}`, { cause })
}

async function checkZip(file: RandomAccess, sizeBytes: number, { signal, onEntry }: CheckOptions): Promise<void> {
  const window = createWindow(file)
  const read = async (offset: number, length: number) => {
    const buffer = Buffer.allocUnsafe(length)
    return buffer.subarray(0, await file.readInto(buffer, offset))
  }
  let at = 0
  for await (const entries of readDirectory(read, sizeBytes)) {
    for (const entry of entries) at = await checkMember(window, entry, at, { signal, onEntry })
  }
  const next = (await window.at(at, 4)).readUInt32LE(0)
  if (![CENTRAL_HEADER_SIGNATURE, END_SIGNATURE, ZIP64_END_SIGNATURE].includes(next))
    corrupt(`bytes that belong to no entry at ${at}`)
}

/** Checks the member that begins at `at`, and returns its end. */
async function checkMember(
  window: ReturnType<typeof createWindow>,
  entry: DirectoryEntry,
  at: number,
  { signal, onEntry }: CheckOptions,
): Promise<number> {
  signal?.throwIfAborted()
  if (entry.headerOffset !== at) corrupt(`bytes that belong to no entry at ${at}`)
  if (entry.method !== METHOD_STORE && entry.method !== METHOD_DEFLATE) corrupt(`"${entry.name}" has an unknown method`)
  const fixed = await window.at(at, LOCAL_HEADER_BYTES)
  const headerBytes = LOCAL_HEADER_BYTES + fixed.readUInt16LE(26) + fixed.readUInt16LE(28)
  const header = parseLocalHeader(await window.at(at, headerBytes))
  for (const field of ['name', 'crc32', 'sizeBytes', 'compressedBytes'] as const) {
    if (header[field] !== entry[field]) corrupt(`"${entry.name}" has another ${field} in its header`)
  }
  const bodyAt = at + header.bodyOffset
  const held = window.range(bodyAt, entry.compressedBytes, signal)
  const found = await measure(entry.method === METHOD_DEFLATE ? inflated(held, entry.sizeBytes) : held)
  if (found.sizeBytes !== entry.sizeBytes) corrupt(`"${entry.name}" is not as long as its header says`)
  if (found.checksum !== entry.crc32) corrupt(`the content of "${entry.name}" does not match its checksum`)
  onEntry?.(entry)
  return bodyAt + entry.compressedBytes
}

async function measure(chunks: AsyncIterable<Buffer>) {
  let sizeBytes = 0
  let checksum = 0
  for await (const chunk of chunks) {
    sizeBytes += chunk.length
    checksum = crc32(chunk, checksum)
  }
  return { sizeBytes, checksum }
}

/** Ends once there are more than `sizeBytes`, because a damaged body may inflate without end. */
async function* inflated(chunks: AsyncIterable<Buffer>, sizeBytes: number): AsyncGenerator<Buffer> {
  const inflating = createInflateRaw({ rejectGarbageAfterEnd: true })
  // Chunks are copied, because the window is used again while inflate may still read a chunk.
  const copies = async function* () {
    for await (const chunk of chunks) yield Buffer.from(chunk)
  }
  const fed = pipeline(copies(), inflating)
  fed.catch(() => {})
  let seen = 0
  for await (const chunk of inflating as AsyncIterable<Buffer>) {
    yield chunk
    seen += chunk.length
    if (seen > sizeBytes) return
  }
  await fed
}

/** Reads the file through one buffer. What `at` returns is valid until the next call. */
function createWindow(file: RandomAccess) {
  const buffer = Buffer.allocUnsafe(WINDOW_BYTES)
  let start = 0
  let length = 0
  const window = {
    /** At least `wanted` bytes from `offset`, and all that follow in the buffer. */
    async at(offset: number, wanted: number): Promise<Buffer> {
      if (offset < start || offset + wanted > start + length) {
        start = offset
        length = await file.readInto(buffer, offset)
        if (length < wanted) corrupt(`it ends at ${start + length}, within an entry`)
      }
      return buffer.subarray(offset - start, length)
    },
    /** Yields exactly these bytes, a window at a time. */
    async *range(offset: number, bytes: number, signal?: AbortSignal): AsyncGenerator<Buffer> {
      for (let done = 0; done < bytes; ) {
        signal?.throwIfAborted()
        const chunk = (await window.at(offset + done, 1)).subarray(0, bytes - done)
        yield chunk
        done += chunk.length
      }
    },
  }
  return window
}

/** Reads every header, because a damaged one costs the user all entries after it. */
async function checkTar(
  file: RandomAccess,
  sizeBytes: number,
  format: 'tar' | 'tar.gz',
  { signal }: CheckOptions,
): Promise<void> {
  if (format === 'tar') {
    const read = async (offset: number, length: number) => {
      const target = Buffer.allocUnsafe(length)
      return target.subarray(0, await file.readInto(target, offset))
    }
    for await (const _ of readTar(read)) signal?.throwIfAborted()
    return
  }
  const gunzip = createGunzip({ rejectGarbageAfterEnd: true })
  const fed = pipeline(readAll(file, sizeBytes), gunzip, { signal })
  fed.catch(() => {})
  try {
    const pieces = (gunzip as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]() as AsyncIterator<Uint8Array, void>
    for await (const _ of readTar(readForward(pieces))) signal?.throwIfAborted()
    await fed
  } finally {
    gunzip.destroy()
    await fed.catch(() => {})
  }
}

async function* readAll(file: RandomAccess, sizeBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < sizeBytes; at += WINDOW_BYTES) {
    const buffer = Buffer.allocUnsafe(Math.min(WINDOW_BYTES, sizeBytes - at))
    if ((await file.readInto(buffer, at)) < buffer.length) corrupt('it is shorter than it was')
    yield buffer
  }
}
