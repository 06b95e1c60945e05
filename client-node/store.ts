// Stores an archive from a URL as a whole and checked file, or sends it to a stream. Owns the part file.
import { createHash, type Hash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import type { Writable } from 'node:stream'
import type { Dispatcher } from 'undici'
import type { ArchiveFormat } from '#contracts/archive.ts'
import type { CompleteEvent } from '#contracts/events.ts'
import { assertDigest, type CheckOptions, checkArchive, checkDigest } from './check.ts'
import { type ByteSink, DownloadError, type Downloaded, type DownloadOptions, download } from './download.ts'
import { createPartFile, type PartFileOptions } from './part-file.ts'

export interface StoreOptions extends DownloadOptions, CheckOptions, Partial<PartFileOptions> {
  /** Awaited after the last byte. The archive must have this event's size and ETag, and its SHA-256 if there is one. */
  complete?: Promise<CompleteEvent>
  /** True if a SHA-256 was asked for: streams are then hashed too, and an archive without one fails. @default false */
  hashed?: boolean
  /** Called once all bytes are here and the check begins. */
  onCheck?: () => void
}

export interface Stored extends Downloaded {
  /** Null if the bytes went to a stream. */
  path: string | null
}

/**
 * If the target is a path, the file there is replaced (or another name is taken, see `ifTaken`) once the archive is
 * whole and every checksum is right. Until then, and after a failure, nothing changes. If the target is a stream, a
 * device or a pipe, bytes go out as they come. Only their number, and the SHA-256 if `hashed`, can be checked. A stream
 * is left open.
 */
export async function storeArchive(
  url: string,
  format: ArchiveFormat,
  target: string | Writable,
  dispatcher: Dispatcher,
  options: StoreOptions = {},
): Promise<Stored> {
  if (typeof target !== 'string') return await storeToStream(url, target, dispatcher, options)
  if (await isDevice(target)) {
    const stream = createWriteStream(target)
    try {
      return await storeToStream(url, stream, dispatcher, options)
    } finally {
      stream.destroy()
    }
  }
  const { ifTaken = 'replace', signal } = options
  await using part = await createPartFile(target, { ifTaken }).catch((cause) => {
    throw new DownloadError('NOT_WRITTEN', cause instanceof Error ? cause.message : String(cause), { cause })
  })
  const downloaded = await download(url, part, dispatcher, options)
  await part.flush()
  await checkSize(downloaded, options)
  options.onCheck?.()
  await checkArchive(part, downloaded.sizeBytes, format, options)
  const sha256 = await digestOf(options)
  if (sha256 !== null) await checkDigest(part, downloaded.sizeBytes, sha256, signal)
  signal?.throwIfAborted()
  return { ...downloaded, path: await part.keep() }
}

/** Fails early if a path cannot be written, because it is a directory or its directory does not exist. */
export async function assertWritable(path: string): Promise<void> {
  const there = await stat(path).catch(() => null)
  if (there?.isDirectory()) throw new DownloadError('NOT_WRITTEN', `${path} is a directory`)
  const directory = await stat(dirname(path)).catch(() => null)
  if (!directory?.isDirectory()) throw new DownloadError('NOT_WRITTEN', `there is no directory ${dirname(path)}`)
  if (basename(path) === '') throw new DownloadError('NOT_WRITTEN', `${path} is not a file name`)
}

async function storeToStream(
  url: string,
  stream: Writable,
  dispatcher: Dispatcher,
  options: StoreOptions,
): Promise<Stored> {
  // Without a listener, a reader that goes away between two writes (EPIPE) would end the process.
  const ignore = () => {}
  stream.on('error', ignore)
  try {
    const hash = options.hashed ? createHash('sha256') : null
    const downloaded = await download(url, streamSink(stream, hash), dispatcher, options)
    await checkSize(downloaded, options)
    const sha256 = await digestOf(options)
    if (hash !== null && sha256 !== null) assertDigest(hash, sha256)
    return { ...downloaded, path: null }
  } finally {
    stream.off('error', ignore)
  }
}

function streamSink(stream: Writable, hash: Hash | null): ByteSink {
  return {
    write: (chunk) =>
      new Promise((resolve, reject) => {
        hash?.update(chunk)
        stream.write(chunk, (error) => (error ? reject(error) : resolve()))
      }),
    startOver: () =>
      Promise.reject(new DownloadError('CHANGED', 'the archive changed, and what was written cannot be taken back')),
  }
}

async function digestOf({ complete, hashed = false }: StoreOptions): Promise<string | null> {
  const sha256 = (await complete)?.sha256 ?? null
  if (hashed && sha256 === null) {
    throw new DownloadError(
      'CORRUPT',
      'a SHA-256 was asked for, but the server reports none: the bytes cannot be checked',
    )
  }
  return sha256
}

async function checkSize({ sizeBytes, etag }: Downloaded, { complete, signal }: StoreOptions): Promise<void> {
  if (complete === undefined) return
  const expected = await complete
  signal?.throwIfAborted()
  if (expected.sizeBytes === sizeBytes && etag === expected.etag) return
  const message = `${sizeBytes} bytes of ${etag} are not the ${expected.sizeBytes} bytes of ${expected.etag}`
  throw new DownloadError('CORRUPT', `the archive is not the one that was completed: ${message}`)
}

async function isDevice(path: string): Promise<boolean> {
  const there = await stat(path).catch(() => null)
  return there !== null && !there.isFile() && !there.isDirectory()
}
