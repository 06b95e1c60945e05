// Undoes content codings nobody asked for: which ones, and the streams that do it, all bounded. Knows no sockets, no files.
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
import type { DecoderPlaces } from './decoder-places.ts'
import { proposeName } from './name.ts'

export type Coding = 'gzip' | 'deflate' | 'br' | 'zstd'

/** Names as RFC 9110 section 8.4.1 and RFC 8878 section 7.2 have them. */
const codingByName: Readonly<Record<string, Coding>> = {
  gzip: 'gzip',
  'x-gzip': 'gzip',
  deflate: 'deflate',
  br: 'br',
  zstd: 'zstd',
}

/** Nobody honest needs more, and each costs a window. */
const MAX_CODINGS = 3
/** UTF-16 units. Room for all of these, some that say nothing, and spaces. */
const MAX_ENCODING_LENGTH = 256

/** Files that are encoded in themselves: by coding, without "x-", their extensions and their types below application/. */
const encodedFiles: Readonly<Record<string, { extensions: readonly string[]; types: readonly string[] }>> = {
  gzip: { extensions: ['gz', 'tgz', 'taz', 'svgz'], types: ['gzip', 'gunzip', 'tgz'] },
  compress: { extensions: ['z', 'taz'], types: ['compress'] },
  bzip2: { extensions: ['bz2', 'tbz2', 'tbz'], types: ['bzip2', 'bzip'] },
  xz: { extensions: ['xz', 'txz'], types: ['xz'] },
  br: { extensions: ['br'], types: ['br', 'brotli'] },
  zstd: { extensions: ['zst', 'tzst'], types: ['zstd'] },
}

/** What says which file it is. */
interface FileFacts {
  readonly finalUrl: URL
  readonly contentType: string | null
  readonly contentDisposition: string | null
}

/**
 * What must be undone to have the file, outermost first; null if that cannot be done.
 *
 * Many servers call it a coding that a file is compressed in itself (Apache's `AddEncoding x-gzip .gz`). By RFC 9110
 * section 8.4 one would then save a bare tar as `a.tar.gz`. As wget and Firefox do, the coding next to the file is taken
 * for a part of it where its name or its type says so. The price: a server that really wraps a `.gz` into gzip once
 * more, which it was asked not to do, gets its wrapping saved.
 */
export function codingsToUndo(contentEncoding: string | string[] | undefined, file: FileFacts): Coding[] | null {
  if (contentEncoding === undefined) return []
  const fields = [contentEncoding].flat()
  if (fields.join().length > MAX_ENCODING_LENGTH) return null
  const names = fields
    .flatMap((field) => field.split(','))
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '' && name !== 'identity')
  // In the order they were applied: the first lies next to the file (RFC 9110 section 8.4).
  if (names.length > 0 && isOfTheFile(names[0]!, file)) names.shift()
  if (names.length > MAX_CODINGS) return null
  const codings = names.reverse().map((name) => (Object.hasOwn(codingByName, name) ? codingByName[name]! : null))
  return codings.includes(null) ? null : (codings as Coding[])
}

/** False if a transfer coding other than chunks lies around the body: it was not asked for by TE (RFC 9112 section 7.4). */
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

/** Decoders with windows of megabytes; the others take some 50 KiB each. */
const isWide = { gzip: false, deflate: false, br: true, zstd: true } as const satisfies Record<Coding, boolean>

export interface DecoderOptions {
  /** Outermost first; at least one. */
  codings: readonly Coding[]
  sink: Pick<BodySink, 'write' | 'whenReady'>
  /** More decoded bytes fail as ENTRY_TOO_LARGE, and never reach the sink. */
  maxEntryBytes: number
  places: DecoderPlaces
  /** Whose body it is. */
  lane: object
  /** Called at most once: null once the sink has all of a sound body. */
  done: (code: EntryFailureCode | null) => void
}

export interface Decoder extends Pick<BodySink, 'write' | 'whenReady'> {
  readonly decodedBytes: number
  /** The encoded body is whole. */
  end(): void
  /** Called some times a second: false if others wait for its place, and too little comes for it to be kept. */
  keepsPlace(nowMs: number): boolean
  /** Ends everything; `done` is not called any more. */
  destroy(): void
}

/** Encoded bytes that may wait to be decoded. */
const MAX_WAITING_BYTES = 128 * 1024
/** Deflate has 1 032 bytes for one at most (zlib's technical notes), so an honest one never meets this. */
const MAX_RATIO = 1_100
/** A small body may be whatever it is. */
const FREE_BYTES = 16 * 1024 * 1024
/** While others wait, this much must come for a place that is held, on the average over the window. */
const MIN_BYTES_PER_SECOND = 32 * 1024
const WINDOW_MS = 5_000

export function createDecoder({ codings, sink, maxEntryBytes, places, lane, done }: DecoderOptions): Decoder {
  const width = codings.filter((coding) => isWide[coding]).length
  let encodedBytes = 0
  let decodedBytes = 0
  let waitingBytes = 0
  let resume: (() => void) | null = null
  let over = false
  /** What came before there was a place. */
  let early: (() => void)[] | null = width === 0 ? null : []
  /** Gives the place back, or ends the wait for one; null before there is anything to decode. */
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

  /** Who waits for a place for a body on its way, and has all of it now, waits in the other row. */
  function askForPlace(isWhole: boolean): void {
    release?.()
    release = places.take({ count: width, lane, isWhole, granted: placed })
    // It may have had its place at once, and have ended already.
    if (over) release()
  }

  function placed(): void {
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

  /** In their order, now or once there is a place. */
  function whenPlaced(call: () => void): void {
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
      // zlib reads from what it is given on another thread and at its leisure, while the socket's memory is used again.
      const copy = Buffer.from(chunk)
      encodedBytes += copy.length
      windowBytes += copy.length
      waitingBytes += copy.length
      whenPlaced(() => stages[0]!.write(copy, () => taken(copy.length)))
      // Until so much is there, a slow origin costs nobody a place.
      if (early !== null && release === null && waitingBytes >= MAX_WAITING_BYTES) askForPlace(false)
      return waitingBytes < MAX_WAITING_BYTES
    },
    whenReady(call) {
      if (waitingBytes < MAX_WAITING_BYTES) call()
      else resume = call
    },
    end() {
      if (over) return
      whenPlaced(() => stages[0]!.end())
      if (early !== null) askForPlace(true)
    },
    keepsPlace(nowMs) {
      // Where much waits to be decoded, it is not the origin that is slow.
      const couldTakeMore = release !== null && early === null && waitingBytes < MAX_WAITING_BYTES / 2
      if (!couldTakeMore || !places.isContended || windowMs === 0) startWindow(nowMs)
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
  /** One chunk after the other: the next may come before `taken` is called, but then waits in memory. */
  write(chunk: Buffer, taken: () => void): void
  end(): void
  destroy(): void
}

/** Memory of each piece that comes out. */
const CHUNK_BYTES = 32 * 1024

const streamOf = {
  // Members one after the other are one file (RFC 1952 section 2.2): here what follows the end is found by its count.
  gzip: () => createGunzip({ chunkSize: CHUNK_BYTES }),
  // The coding is zlib's format (RFC 9110 section 8.4.1.2), but some send bare deflate. A zlib header says method 8.
  deflate: (first: Buffer) => ((first[0]! & 0x0f) === 8 ? createInflate : createInflateRaw)(STRICT),
  br: () => createBrotliDecompress(STRICT),
  // Content codings use windows of 8 MiB at most (RFC 9659 section 3).
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
      // Nothing at all is no encoded body, not even of an empty file.
      if (stream === null) failed()
      else stream.end()
    },
    destroy: () => stream?.destroy(),
  }
}

/** A body may wait in memory for long: what is small must not keep all of the piece it lies in. */
function compact(chunk: Buffer): Buffer {
  if (chunk.length * 2 >= chunk.buffer.byteLength) return chunk
  const own = Buffer.allocUnsafeSlow(chunk.length)
  chunk.copy(own)
  return own
}
