// Undoes content codings that were not asked for: decides which ones, and decodes within limits. No sockets, no files.
import {
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
  constants as zlib,
} from 'node:zlib'
import type { EntryFailureCode } from '#contracts/failures.ts'
import type { BodySink } from './body-sink.ts'
import type { DecoderSemaphore } from './decoder-semaphore.ts'
import { proposeName } from './name.ts'

export type Coding = 'gzip' | 'deflate' | 'br' | 'zstd'

/** The names are those of RFC 9110 section 8.4.1 and RFC 8878 section 7.2. */
const codingByName: Readonly<Record<string, Coding>> = {
  gzip: 'gzip',
  'x-gzip': 'gzip',
  deflate: 'deflate',
  br: 'br',
  zstd: 'zstd',
}

/**
 * Codings that cannot be undone here, so a body in one of them is not the file: the rest of the IANA HTTP Content Coding Registry,
 * and others that servers have been seen to send.
 */
const notUndone: ReadonlySet<string> = new Set([
  ...['aes128gcm', 'compress', 'dcb', 'dcz', 'exi', 'pack200-gzip'],
  ...['brotli', 'bzip', 'bzip2', 'lz4', 'lzip', 'lzma', 'sdch', 'snappy', 'xz', 'zst'],
])

/** An honest origin needs no more, and each coding costs a window of memory. */
const MAX_CODINGS = 3
/** In UTF-16 units. That is enough for all of these codings, a few `identity`, and spaces. */
const MAX_ENCODING_LENGTH = 256

/**
 * Files that are themselves in an encoded format. For each coding (without "x-") their extensions, and their types
 * below application/.
 */
const encodedFiles: Readonly<Record<string, { extensions: readonly string[]; types: readonly string[] }>> = {
  gzip: { extensions: ['gz', 'tgz', 'taz', 'svgz'], types: ['gzip', 'gunzip', 'tgz'] },
  compress: { extensions: ['z', 'taz'], types: ['compress'] },
  bzip2: { extensions: ['bz2', 'tbz2', 'tbz'], types: ['bzip2', 'bzip'] },
  xz: { extensions: ['xz', 'txz'], types: ['xz'] },
  br: { extensions: ['br'], types: ['br', 'brotli'] },
  zstd: { extensions: ['zst', 'tzst'], types: ['zstd'] },
}

/** What a response says about the kind of its file. */
interface FileFacts {
  readonly finalUrl: URL
  readonly contentType: string | null
  readonly contentDisposition: string | null
}

/**
 * The codings to undo to get the file, outermost first; null if they cannot be undone.
 *
 * Many servers report the compression of a compressed file as its content coding (Apache's `AddEncoding x-gzip .gz`).
 * By RFC 9110 section 8.4, a bare tar would then be saved as `a.tar.gz`. So, as in wget and Firefox, the innermost
 * coding is taken as part of the file if the file's name or type says so. This has a price: if a server really wraps a
 * `.gz` into gzip once more, which it was asked not to do, the wrapping is saved too.
 *
 * A name that no coding has says nothing about the bytes: `aws-chunked` was the framing of an upload, `UTF-8` is a charset.
 * Browsers and curl take such a body as it is.
 */
export function codingsToUndo(contentEncoding: string | string[] | undefined, file: FileFacts): Coding[] | null {
  if (contentEncoding === undefined) return []
  const fields = [contentEncoding].flat()
  if (fields.join().length > MAX_ENCODING_LENGTH) return null
  const names = fields
    .flatMap((field) => field.split(','))
    .map((name) => name.split(';', 1)[0]!.trim().toLowerCase())
    .filter(isCoding)
  // The names are in the order in which the codings were applied, so the first is the innermost (RFC 9110 section 8.4).
  if (names.length > 0 && isOfTheFile(names[0]!, file)) names.shift()
  if (names.length > MAX_CODINGS) return null
  const codings = names.reverse().map((name) => (Object.hasOwn(codingByName, name) ? codingByName[name]! : null))
  return codings.includes(null) ? null : (codings as Coding[])
}

function isCoding(name: string): boolean {
  const plain = withoutX(name)
  return Object.hasOwn(codingByName, plain) || notUndone.has(plain)
}

/** False if the body has a transfer coding other than chunked, because TE asked for no other (RFC 9112 section 7.4). */
export function isPlainlyFramed(transferEncoding: string | string[] | undefined): boolean {
  return ['', 'identity', 'chunked'].includes(
    String(transferEncoding ?? '')
      .trim()
      .toLowerCase(),
  )
}

function isOfTheFile(coding: string, { contentType, contentDisposition, finalUrl }: FileFacts): boolean {
  const plain = withoutX(coding)
  if (!Object.hasOwn(encodedFiles, plain)) return false
  const { extensions, types } = encodedFiles[plain]!
  const [, type] = /^application\/([\w.+-]+)/i.exec(contentType?.trim() ?? '') ?? []
  if (type !== undefined && types.includes(withoutX(type.toLowerCase()))) return true
  const name = proposeName({ contentDisposition, finalUrl, contentType, index: 0 })
  return extensions.some((extension) => name.toLowerCase().endsWith(`.${extension}`))
}

function withoutX(name: string): string {
  return name.startsWith('x-') ? name.slice(2) : name
}

/** True for decoders with windows of megabytes. The others take about 50 KiB each. */
const isWide = { gzip: false, deflate: false, br: true, zstd: true } as const satisfies Record<Coding, boolean>

export interface DecoderOptions {
  /** Outermost first. There is at least one. */
  codings: readonly Coding[]
  sink: Pick<BodySink, 'write' | 'whenReady'>
  /** A body with more decoded bytes fails as ENTRY_TOO_LARGE. The bytes beyond never reach the sink. */
  maxEntryBytes: number
  semaphore: DecoderSemaphore
  /** The lane of the body's entry; lanes share the semaphore fairly. */
  lane: object
  /** Called at most once, with null when the sink has taken the whole body and the encoding was sound. */
  done: (code: EntryFailureCode | null) => void
}

export interface Decoder extends Pick<BodySink, 'write' | 'whenReady'> {
  readonly decodedBytes: number
  /** Call this when the encoded body is whole. */
  end(): void
  /**
   * Must be called some times a second. False if others wait for a permit, and this body is too slow to keep its own.
   */
  keepsPermit(nowMs: number): boolean
  /** Stops decoding and gives up its permit. `done` is not called after that. */
  destroy(): void
}

/** When this many encoded bytes wait to be decoded, the origin is paused. */
const MAX_WAITING_BYTES = 128 * 1024
/** One byte of deflate becomes at most 1 032 bytes (zlib's technical notes), so an honest body stays below this. */
const MAX_RATIO = 1_100
/** A body up to this size may have any ratio. */
const FREE_BYTES = 16 * 1024 * 1024
/** While others wait, a body that holds a permit must come at this rate, on average over the window. */
const MIN_BYTES_PER_SECOND = 32 * 1024
const WINDOW_MS = 5_000

export function createDecoder({ codings, sink, maxEntryBytes, semaphore, lane, done }: DecoderOptions): Decoder {
  const width = codings.filter((coding) => isWide[coding]).length
  let encodedBytes = 0
  let decodedBytes = 0
  let waitingBytes = 0
  let resume: (() => void) | null = null
  let over = false
  /** Calls that wait for the permit; null once it is granted, or if none is needed. */
  let early: (() => void)[] | null = width === 0 ? null : []
  /** Gives the permit back, or ends the wait for it; null before it was asked for. */
  let release: (() => void) | null = null
  let windowMs = 0
  let windowBytes = 0

  const stages: Stage[] = [
    {
      write(chunk, taken) {
        decodedBytes += chunk.length
        if (decodedBytes > maxEntryBytes) finish('ENTRY_TOO_LARGE')
        else if (sink.write(compact(chunk))) taken()
        else sink.whenReady(taken)
      },
      end: () => finish(null),
      destroy: () => {},
    },
  ]
  const isBomb = (madeBytes: number) => madeBytes > FREE_BYTES && madeBytes > MAX_RATIO * encodedBytes
  for (const coding of codings.toReversed()) {
    stages.unshift(openStage(coding, stages[0]!, isBomb, () => finish('BAD_ENCODING')))
  }

  /** If the body becomes whole while it waits, this asks again, because whole bodies have a queue of their own. */
  function askForPermit(isWhole: boolean): void {
    release?.()
    release = semaphore.acquire({ count: width, lane, isWhole, granted: startDecoding })
    // If the permit was granted at once, the body may have failed already.
    if (over) release()
  }

  function startDecoding(): void {
    const calls = early!
    early = null
    for (const call of calls) call()
  }

  function destroy(): void {
    if (over) return
    over = true
    early = resume = null
    for (const stage of stages) stage.destroy()
    release?.()
  }

  function finish(code: EntryFailureCode | null): void {
    if (over) return
    destroy()
    done(code)
  }

  function startWindow(nowMs: number): void {
    windowMs = nowMs
    windowBytes = 0
  }

  /** Runs the calls in their order: now, or once there is a permit. */
  function whenPermitted(call: () => void): void {
    if (early === null) call()
    else early.push(call)
  }

  function taken(bytes: number): void {
    waitingBytes -= bytes
    if (resume === null || waitingBytes >= MAX_WAITING_BYTES) return
    const call = resume
    resume = null
    call()
  }

  return {
    get decodedBytes() {
      return decodedBytes
    },
    write(chunk) {
      if (over || chunk.length === 0) return true
      // zlib reads its input later, on another thread, and by then the socket's memory may have been reused.
      const copy = Buffer.from(chunk)
      encodedBytes += copy.length
      windowBytes += copy.length
      waitingBytes += copy.length
      whenPermitted(() => stages[0]!.write(copy, () => taken(copy.length)))
      // It asks only once a full buffer waits, so a body from a slow origin does not occupy a permit meanwhile.
      if (early !== null && release === null && waitingBytes >= MAX_WAITING_BYTES) askForPermit(false)
      return waitingBytes < MAX_WAITING_BYTES
    },
    whenReady(call) {
      if (waitingBytes < MAX_WAITING_BYTES) call()
      else resume = call
    },
    end() {
      if (over) return
      whenPermitted(() => stages[0]!.end())
      if (early !== null) askForPermit(true)
    },
    keepsPermit(nowMs) {
      // If much input waits to be decoded, it is not the origin that is slow.
      const couldTakeMore = release !== null && early === null && waitingBytes < MAX_WAITING_BYTES / 2
      if (!couldTakeMore || !semaphore.isContended || windowMs === 0) startWindow(nowMs)
      const elapsedMs = nowMs - windowMs
      if (elapsedMs < WINDOW_MS) return true
      const isEnough = windowBytes >= (MIN_BYTES_PER_SECOND * elapsedMs) / 1000
      startWindow(nowMs)
      return isEnough
    },
    destroy,
  }
}

interface Stage {
  /** Takes chunks in order. The next chunk may come before `taken` is called, but it then waits in memory. */
  write(chunk: Buffer, taken: () => void): void
  end(): void
  destroy(): void
}

/** The size of each decoded piece. */
const CHUNK_BYTES = 32 * 1024

const streamOf = {
  // A gzip file may have several members (RFC 1952 section 2.2). Garbage after them shows in the count of bytes.
  gzip: () => createGunzip({ chunkSize: CHUNK_BYTES }),
  // The coding means zlib's format (RFC 9110 section 8.4.1.2), but some send bare deflate. A zlib header has method 8.
  deflate: (first: Buffer) => ((first[0]! & 0x0f) === 8 ? createInflate : createInflateRaw)(STRICT),
  br: () => createBrotliDecompress(STRICT),
  // As a content coding, zstd may use windows of at most 8 MiB (RFC 9659 section 3).
  zstd: () => createZstdDecompress({ ...STRICT, params: { [zlib.ZSTD_d_windowLogMax]: 23 } }),
} as const satisfies Record<Coding, (first: Buffer) => NodeJS.ReadWriteStream>

const STRICT = { chunkSize: CHUNK_BYTES, rejectGarbageAfterEnd: true }

function openStage(coding: Coding, next: Stage, isBomb: (madeBytes: number) => boolean, failed: () => void): Stage {
  let stream: ReturnType<(typeof streamOf)[Coding]> | null = null
  let fedBytes = 0
  let madeBytes = 0

  function open(first: Buffer) {
    const opened = streamOf[coding](first)
    opened.on('data', (chunk: Buffer) => {
      opened.pause()
      madeBytes += chunk.length
      if (isBomb(madeBytes)) return failed()
      next.write(chunk, () => opened.resume())
    })
    opened.on('end', () => {
      if (opened.bytesWritten === fedBytes) next.end()
      else failed()
    })
    opened.on('error', failed)
    return opened
  }

  return {
    write(chunk, taken) {
      stream ??= open(chunk)
      fedBytes += chunk.length
      stream.write(chunk, () => taken())
    },
    end() {
      // An encoded body has at least a header, even if the file is empty.
      if (stream === null) failed()
      else stream.end()
    },
    destroy: () => stream?.destroy(),
  }
}

/** Copies a small chunk. A body may wait in memory for long, and must not keep alive a larger buffer around it. */
function compact(chunk: Buffer): Buffer {
  if (chunk.length * 2 >= chunk.buffer.byteLength) return chunk
  const own = Buffer.allocUnsafeSlow(chunk.length)
  chunk.copy(own)
  return own
}
