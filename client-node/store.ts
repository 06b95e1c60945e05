// From a URL to a file that is whole and checked, or to a stream. Owns the part file; replaces nothing by anything less.
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
  /** Awaited after the last byte: the archive must then have the size it tells, and the SHA-256 if it tells one. */
  complete?: Promise<CompleteEvent>
  /** A SHA-256 was asked for: what goes to a stream is hashed, too, and an archive without one is refused. @default false */
  hashed?: boolean
  /** Called once all bytes are there and the check begins. */
  onCheck?: () => void
}

export interface Stored extends Downloaded {
  /** Null if the bytes went to a stream. */
  path: string | null
}

/**
 * To a path: what stands there is replaced (or another name taken, see `ifTaken`) once the archive is whole and every
 * checksum was right; until then, and after a failure, nothing has changed. To a stream, a device or a pipe: the bytes
 * go out as they come, only their number can be checked, and the stream is left open.
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

/** Fails early where a path can never be written: it is a directory, or its directory is none. */
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
  // Without a listener a reader that goes away (EPIPE) would end the process between two writes.
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
      'a SHA-256 was asked for, and the server tells none: nothing vouches for the bytes',
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
