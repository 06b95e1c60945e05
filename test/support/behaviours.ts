// How an origin answers, well or badly: small behaviours that compose. The same arguments always send the same bytes.
import { STATUS_CODES } from 'node:http'
import { crc32, gzipSync } from 'node:zlib'
import type { Behaviour, Exchange, OriginRequest } from './exchange.ts'
import { until } from './wait.ts'

/** Header fields of a response, with names in lower case. `undefined` removes a default field. */
export type HeaderFields = Readonly<Record<string, string | readonly string[] | undefined>>

/** The file that is answered badly. `bytes(body, headers)` answers the same file well, with the same ETag. */
export interface FileOptions {
  /** @default enough of `bodyOf` to show the fault */
  body?: Buffer
  headers?: HeaderFields
}

export const LAST_MODIFIED = 'Thu, 02 Jan 2020 03:04:06 GMT'

const BLOCK_BYTES = 65_536
const WRITE_BYTES = 262_144

// ---- Bodies

/** Pseudo-random bytes, the same for the same arguments. A shorter body is the beginning of a longer one. */
export function bodyOf(size: number, seed: string | number): Buffer {
  return Buffer.concat([...seeded(size, String(seed))], size)
}

/** Repeats one block. Every block but the first carries its number, so that a misplaced piece shows. */
function* seeded(size: number, seed: string, from = 0, to = size): Iterable<Buffer> {
  const block = blockOf(seed, Math.min(size, BLOCK_BYTES))
  for (let at = from; at < to; ) {
    const index = Math.floor(at / BLOCK_BYTES)
    const start = at % BLOCK_BYTES
    const stamped = index > 0 && start < 4
    const end = Math.min(stamped ? 4 : BLOCK_BYTES, start + to - at)
    if (stamped) {
      const stamp = Buffer.allocUnsafe(4)
      stamp.writeUInt32BE(index)
      yield stamp.subarray(start, end)
    } else {
      yield block.subarray(start, end)
    }
    at += end - start
  }
}

const blocks = new Map<string, Buffer>()

function blockOf(seed: string, length: number): Buffer {
  const known = blocks.get(seed)
  if (known && known.length >= length) return known.subarray(0, length)
  const words = new Uint32Array(Math.ceil(length / 4))
  // xorshift32 (Marsaglia 2003), from a state that is never zero.
  let state = Math.imul(crc32(seed) ^ 0x9e3779b9, 0x85ebca6b) | 1
  for (let index = 0; index < words.length; index += 1) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[index] = state
  }
  const block = Buffer.from(words.buffer, 0, length)
  if (blocks.size >= 64) blocks.delete(blocks.keys().next().value!)
  blocks.set(seed, block)
  return block
}

function* slices(buffer: Buffer, from = 0, to = buffer.length): Iterable<Buffer> {
  for (let at = from; at < to; at += BLOCK_BYTES) yield buffer.subarray(at, Math.min(to, at + BLOCK_BYTES))
}

function* first(count: number, chunks: Iterable<Buffer>): Iterable<Buffer> {
  let left = count
  for (const chunk of chunks) {
    if (left <= 0) return
    yield chunk.subarray(0, left)
    left -= chunk.length
  }
}

function* forever(chunk: Buffer): Iterable<Buffer> {
  for (;;) yield chunk
}

// ---- Answers

interface Representation {
  readonly size: number
  readonly headers: HeaderFields
  chunks(from: number, to: number): Iterable<Buffer>
}

interface Reply {
  readonly status: number
  readonly headers: HeaderFields
  readonly body: Iterable<Buffer>
}

function representation(body: Buffer, headers: HeaderFields = {}): Representation {
  return {
    size: body.length,
    headers: { ...validators(`"${body.length.toString(36)}-${crc32(body).toString(36)}"`), ...headers },
    chunks: (from, to) => slices(body, from, to),
  }
}

function validators(etag: string): HeaderFields {
  return { etag, 'last-modified': LAST_MODIFIED, 'accept-ranges': 'bytes', 'content-type': 'application/octet-stream' }
}

/** Answers as RFC 9110 section 14 asks. If several ranges are asked for it sends the whole file, which section 14.2 allows. */
function replyTo(request: OriginRequest, file: Representation): Reply {
  const range = file.headers['accept-ranges'] === 'none' ? null : rangeAsked(request, file)
  if (range === 'unsatisfiable') {
    return { status: 416, headers: { 'content-range': `bytes */${file.size}`, 'content-length': '0' }, body: [] }
  }
  return range ? partOf(file, range.from, range.to) : wholeOf(file)
}

function wholeOf(file: Representation): Reply {
  return {
    status: 200,
    headers: { 'content-length': String(file.size), ...file.headers },
    body: file.chunks(0, file.size),
  }
}

function partOf(file: Representation, from: number, to: number): Reply {
  const headers = { 'content-length': String(to - from), 'content-range': `bytes ${from}-${to - 1}/${file.size}` }
  return { status: 206, headers: { ...headers, ...file.headers }, body: file.chunks(from, to) }
}

function rangeAsked({ method, headers }: OriginRequest, file: Representation) {
  const [, start, end] = /^bytes=(\d*)-(\d*)$/.exec(headers.range ?? '') ?? []
  if (method !== 'GET' || start === undefined || end === undefined || start + end === '') return null
  const condition = headers['if-range']
  // RFC 9110 section 13.1.5: compared strongly, so a weak ETag never matches.
  const matches = !condition?.startsWith('W/') && [file.headers.etag, file.headers['last-modified']].includes(condition)
  if (condition !== undefined && !matches) return null
  const from = start === '' ? Math.max(0, file.size - Number(end)) : Number(start)
  const to = start === '' || end === '' ? file.size : Math.min(file.size, Number(end) + 1)
  if (start !== '' && end !== '' && Number(end) < Number(start)) return null
  return from < to ? { from, to } : 'unsatisfiable'
}

function headOf(status: number, headers: HeaderFields): string {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`
  for (const [name, value] of Object.entries(headers)) {
    for (const each of value === undefined ? [] : [value].flat()) head += `${name}: ${each}\r\n`
  }
  return `${head}\r\n`
}

/** Sends head and body in as few writes as their size allows. */
async function send(exchange: Exchange, { status, headers, body }: Reply): Promise<void> {
  let group: (Buffer | string)[] = [headOf(status, headers)]
  let size = 0
  for (const chunk of exchange.request.method === 'HEAD' ? [] : body) {
    group.push(chunk)
    size += chunk.length
    if (size < WRITE_BYTES) continue
    await exchange.write(...group)
    group = []
    size = 0
  }
  if (group.length > 0) await exchange.write(...group)
}

/** Sends the head of the whole answer, but only the first `count` bytes of its body. */
async function sendFirst(exchange: Exchange, count: number, options: FileOptions): Promise<void> {
  const file = representation(options.body ?? bodyOf(count + BLOCK_BYTES, 'cut'), options.headers)
  const reply = replyTo(exchange.request, file)
  await send(exchange, { ...reply, body: first(count, reply.body) })
}

const text = (body: string): Reply => ({
  status: 200,
  headers: { 'content-length': String(Buffer.byteLength(body)), 'content-type': 'text/plain' },
  body: [Buffer.from(body)],
})

// ---- Sound behaviours

/** Answers with this body and a strong ETag of it. Honours ranges unless `headers` say `accept-ranges: none`. */
export function bytes(body: Buffer, headers?: HeaderFields): Behaviour {
  const file = representation(body, headers)
  return (exchange) => send(exchange, replyTo(exchange.request, file))
}

/** Answers `/bytes/<size>/<seed>[.ext]` with `bodyOf(size, seed)`, as `bytes` would. Any other path is a 404. */
export function pathBytes(): Behaviour {
  return (exchange) => {
    const [, digits, seed] = /^\/bytes\/(\d{1,15})\/([\w-]+)(?:\.\w+)*(?:\?.*)?$/.exec(exchange.request.path) ?? []
    if (digits === undefined || seed === undefined) return status(404)(exchange)
    const size = Number(digits)
    const file: Representation = {
      size,
      headers: validators(`"${size}-${seed}"`),
      chunks: (from, to) => seeded(size, seed, from, to),
    }
    return send(exchange, replyTo(exchange.request, file))
  }
}

export function status(code: number, headers: HeaderFields = {}, body = ''): Behaviour {
  // RFC 9112 section 6.3: responses with these codes have no body and no length.
  const bare = code < 200 || code === 204 || code === 304
  const framing = bare ? {} : { 'content-length': String(Buffer.byteLength(body)) }
  return (exchange) =>
    send(exchange, { status: code, headers: { ...framing, ...headers }, body: bare ? [] : [Buffer.from(body)] })
}

export function redirect(to: string, code = 302): Behaviour {
  return status(code, { location: to }, 'elsewhere')
}

export function delayed(ms: number, then: Behaviour): Behaviour {
  return async (exchange) => {
    await exchange.pause(ms)
    await then(exchange)
  }
}

/** The n-th request gets the n-th behaviour. The last behaviour repeats. */
export function sequence(...behaviours: [Behaviour, ...Behaviour[]]): Behaviour {
  let requests = 0
  return (exchange) => {
    const index = Math.min(requests, behaviours.length - 1)
    requests += 1
    return behaviours[index]!(exchange)
  }
}

/** So many requests at a time; every other one is refused. What it does then, several paths may share. */
export function atMost(count: number, then: Behaviour, refusal: Behaviour = status(503)): Behaviour {
  let active = 0
  return async (exchange) => {
    if (active >= count) return refusal(exchange)
    active++
    try {
      await then(exchange)
    } finally {
      active--
    }
  }
}

/** So many requests in each window, which begins with its first one. Every other one is refused. */
export function perWindow(count: number, windowMs: number, then: Behaviour, refusal: Behaviour): Behaviour {
  let startMs = Number.NEGATIVE_INFINITY
  let seen = 0
  return (exchange) => {
    const nowMs = performance.now()
    if (nowMs - startMs >= windowMs) [startMs, seen] = [nowMs, 0]
    return ++seen <= count ? then(exchange) : refusal(exchange)
  }
}

/** One request after the other, also those whose client has gone. */
export function oneByOne(eachMs: number, then: Behaviour): Behaviour {
  let last = Promise.resolve()
  return async (exchange) => {
    last = last.then(() => new Promise((resolve) => setTimeout(resolve, eachMs)))
    await last
    await then(exchange)
  }
}

export interface Gate {
  readonly behaviour: Behaviour
  /** How many requests wait at the gate now. */
  readonly waiting: number
  /** Lets every waiting request through, and every later one. */
  open(): void
  /** Resolves once this many requests wait at the same time. Throws after 10 s. */
  waitFor(count: number): Promise<void>
}

/** Requests wait until the test opens the gate, and are then answered by `then`. */
export function gate(then: Behaviour = pathBytes()): Gate {
  const { promise: opened, resolve: open } = Promise.withResolvers<void>()
  let waiting = 0
  return {
    open,
    get waiting() {
      return waiting
    },
    async waitFor(count) {
      await until(() => waiting >= count, { everyMs: 5, what: `${count} requests at the gate` })
    },
    async behaviour(exchange) {
      waiting += 1
      try {
        await Promise.race([opened, exchange.gone()])
      } finally {
        waiting -= 1
      }
      await then(exchange)
    },
  }
}

// ---- Slow behaviours

export function stallBeforeHeaders(): Behaviour {
  return (exchange) => exchange.gone()
}

/** Sends `count` bytes of the body and then nothing. Honours ranges, so a client that resumes gets `count` bytes each time. */
export function stallAfter(count: number, options: FileOptions = {}): Behaviour {
  return async (exchange) => {
    await sendFirst(exchange, count, options)
    await exchange.gone()
  }
}

/** Sends the whole file (by default 1 MiB), `bytesPerTick` at a time. */
export function drip(bytesPerTick: number, tickMs: number, options: FileOptions = {}): Behaviour {
  const file = representation(options.body ?? bodyOf(2 ** 20, 'drip'), options.headers)
  return async (exchange) => {
    const reply = replyTo(exchange.request, file)
    await send(exchange, { ...reply, body: [] })
    if (exchange.request.method === 'HEAD') return
    for (const chunk of reply.body) {
      for (let at = 0; at < chunk.length; at += bytesPerTick) {
        await exchange.write(chunk.subarray(at, at + bytesPerTick))
        await exchange.pause(tickMs)
      }
    }
  }
}

/** Sends a sound answer whose head comes one byte at a time. */
export function byteTrickleHeaders(ms: number): Behaviour {
  return async (exchange) => {
    const { status, headers, body } = text('at last')
    for (const byte of headOf(status, headers)) {
      await exchange.write(byte)
      await exchange.pause(ms)
    }
    await exchange.write(...body)
  }
}

// ---- Wrong lengths

/** Sends RST after `count` bytes of the body. Honours ranges, so a client that resumes gets `count` bytes each time. */
export function resetAfter(count: number, options: FileOptions = {}): Behaviour {
  return async (exchange) => {
    await sendFirst(exchange, count, options)
    await exchange.reset()
  }
}

/** Sends FIN after `count` bytes of the body, which are fewer than declared. Honours ranges like `resetAfter`. */
export function finAfter(count: number, options: FileOptions = {}): Behaviour {
  return async (exchange) => {
    await sendFirst(exchange, count, options)
    exchange.close()
  }
}

/** Sends `extra` after the declared body: a number of bytes, or a text such as a whole response made up by an attacker. */
export function tooLong(
  extra: number | string,
  { body = bodyOf(1000, 'too-long'), headers }: FileOptions = {},
): Behaviour {
  const file = representation(body, headers)
  const tail = typeof extra === 'string' ? Buffer.from(extra, 'latin1') : bodyOf(extra, 'extra')
  return (exchange) => send(exchange, { ...wholeOf(file), body: [body, tail] })
}

/** Sends a body without a length and without an end, as fast as the client reads. */
export function endless(headers: HeaderFields = {}): Behaviour {
  const body = forever(bodyOf(BLOCK_BYTES, 'endless'))
  return (exchange) => send(exchange, { status: 200, headers: { connection: 'close', ...headers }, body })
}

/** Declares `count` bytes and never stops sending. */
export function hugeLength(count: number): Behaviour {
  return endless({ connection: undefined, 'content-length': String(count) })
}

// ---- Wrong encodings

export interface ChunkedOptions {
  headers?: HeaderFields
  trailers?: HeaderFields
  /** Sends FIN after half of the body, without the last chunk. */
  truncate?: boolean
  /** Sends, after half of the body, a chunk size that is not a number. */
  badChunk?: boolean
}

export function chunked(body: Buffer, { headers, trailers = {}, truncate, badChunk }: ChunkedOptions = {}): Behaviour {
  const broken = truncate || badChunk
  function* frames(): Iterable<Buffer> {
    for (const slice of slices(body, 0, broken ? Math.floor(body.length / 2) : body.length)) {
      yield Buffer.concat([Buffer.from(`${slice.length.toString(16)}\r\n`), slice, Buffer.from('\r\n')])
    }
    if (badChunk) yield Buffer.from('not a size\r\n')
    // Trailer fields are framed like a head without its first line (RFC 9112 section 7.1.2).
    if (!broken) yield Buffer.from(`0\r\n${headOf(200, trailers).replace(/^.*\r\n/, '')}`, 'latin1')
  }
  return async (exchange) => {
    await send(exchange, { status: 200, headers: { 'transfer-encoding': 'chunked', ...headers }, body: frames() })
    if (broken) exchange.close()
  }
}

/** Answers with `Content-Encoding: gzip`, even if nobody asked for it. `damage` spoils the gzip stream, not the HTTP framing. */
export function gzipped(body: Buffer, { damage }: { damage?: 'corrupt' | 'truncate' } = {}): Behaviour {
  const packed = gzipSync(body)
  const half = Math.floor(packed.length / 2)
  if (damage === 'corrupt') packed.fill(0xff, half, half + 8)
  return bytes(damage === 'truncate' ? packed.subarray(0, half) : packed, {
    'content-encoding': 'gzip',
    'accept-ranges': 'none',
  })
}

// ---- Wrong representations

export interface Unasked206Options {
  headers?: HeaderFields
  /** Offset of the first byte. @default 0 */
  from?: number
  /** Offset after the last byte. @default the whole length */
  to?: number
  /** Leaves Content-Range out. */
  bare?: boolean
}

/** Answers 206 to a request for the whole file. */
export function unasked206(body: Buffer, options: Unasked206Options = {}): Behaviour {
  const { headers, from = 0, to = body.length, bare } = options
  const part = partOf(representation(body, headers), from, to)
  const reply = bare ? { ...part, headers: { ...part.headers, 'content-range': undefined } } : part
  return (exchange) => send(exchange, reply)
}

export interface ChangingOptions {
  /**
   * How the ETag differs between versions: a new strong one, a new weak one, no ETag at all, or the same ETag for all.
   * @default 'strong'
   */
  validator?: 'strong' | 'weak' | 'absent' | 'unchanged'
  /** Answers with a range of the new version even if If-Range names the old one. */
  ignoreIfRange?: boolean
  /** How the connection ends in the middle of every version but the last. @default 'reset' */
  cut?: 'reset' | 'fin'
}

/** The n-th request gets the n-th version, cut in the middle. The last version is sent whole, and repeats. */
export function changing(versions: [Buffer, ...Buffer[]], options: ChangingOptions = {}): Behaviour {
  const { validator = 'strong', ignoreIfRange, cut = 'reset' } = options
  const etags = {
    strong: (n: number) => `"v${n}"`,
    weak: (n: number) => `W/"v${n}"`,
    absent: () => undefined,
    unchanged: () => '"v"',
  }
  let requests = 0
  return async (exchange) => {
    const index = Math.min(requests, versions.length - 1)
    requests += 1
    const file = representation(versions[index]!, { etag: etags[validator](index), 'last-modified': undefined })
    const { 'if-range': _, ...unconditional } = exchange.request.headers
    const reply = replyTo(ignoreIfRange ? { ...exchange.request, headers: unconditional } : exchange.request, file)
    if (index === versions.length - 1) return send(exchange, reply)
    await send(exchange, { ...reply, body: first(Math.floor(Number(reply.headers['content-length']) / 2), reply.body) })
    if (cut === 'fin') exchange.close()
    else await exchange.reset()
  }
}

/**
 * What is wrong with the part.
 * - `start`: it begins at another offset than was asked for.
 * - `end`: it ends before the last byte.
 * - `total`: its Content-Range names a longer file.
 * - `length`: it has fewer bytes than its Content-Range says.
 * - `etag`: it has the ETag of another version.
 * - `no-range`: it has no Content-Range.
 */
export type Lie = 'start' | 'end' | 'total' | 'length' | 'etag' | 'no-range'

/** Sends RST in the middle of the whole file, and answers a request for a range with a 206 that lies. */
export function lying206(body: Buffer, lie: Lie): Behaviour {
  const file = representation(body)
  const cut = resetAfter(Math.floor(body.length / 2), { body })
  return async (exchange) => {
    const range = rangeAsked(exchange.request, file)
    if (range === null || range === 'unsatisfiable') return cut(exchange)
    const { from, to } = range
    const honest = partOf(file, from, to)
    const lies: Record<Lie, () => Reply> = {
      start: () => partOf(file, from - 1, to),
      end: () => partOf(file, from, to - 1),
      total: () => ({
        ...honest,
        headers: { ...honest.headers, 'content-range': `bytes ${from}-${to - 1}/${to + 1}` },
      }),
      length: () => ({
        ...partOf(file, from, to - 1),
        headers: { ...honest.headers, 'content-length': String(to - from - 1) },
      }),
      etag: () => ({ ...honest, headers: { ...honest.headers, etag: '"another"' } }),
      'no-range': () => ({ ...honest, headers: { ...honest.headers, 'content-range': undefined } }),
    }
    await send(exchange, lies[lie]())
  }
}

// ---- Broken HTTP

/** Sends header fields of `size` bytes in all, then a sound body. */
export function headerBomb(size = 2 ** 20): Behaviour {
  const field = 'x'.repeat(1000)
  const fields = Array.from({ length: Math.ceil(size / 1000) }, (_, index) => [`x-${index}`, field])
  const { headers, ...reply } = text('after the bomb')
  return (exchange) => send(exchange, { ...reply, headers: { ...headers, ...Object.fromEntries(fields) } })
}

export function garbage(): Behaviour {
  return async (exchange) => {
    await exchange.write('SSH-2.0-origin\r\n', bodyOf(1000, 'garbage'))
    exchange.close()
  }
}

/** Sends a body without a head. */
export function http09(body = bodyOf(1000, 'http09')): Behaviour {
  return async (exchange) => {
    await exchange.write(body)
    exchange.close()
  }
}

/** Sends `count` interim responses, then a sound final one. */
export function flood1xx(count = 10_000, code = 103, link = '</style.css>; rel=preload'): Behaviour {
  const interim = Buffer.from(headOf(code, { link }))
  const hundred = Buffer.concat(Array.from({ length: 100 }, () => interim))
  return async (exchange) => {
    for (let sent = 0; sent < count; sent += 100) {
      await exchange.write(hundred.subarray(0, interim.length * Math.min(100, count - sent)))
    }
    await send(exchange, text('after the flood'))
  }
}

/** Sends exactly these bytes, and keeps the connection open. */
export function raw(...chunks: (Buffer | string)[]): Behaviour {
  return (exchange) => exchange.write(...chunks)
}

/** Sends `count` header fields of a few bytes each, then a sound body. */
export function manyHeaders(count: number): Behaviour {
  const fields = Array.from({ length: count }, (_, index) => [`${index.toString(36).padStart(3, 'h')}`, ''])
  const { headers, ...reply } = text('after many headers')
  return (exchange) => send(exchange, { ...reply, headers: { ...Object.fromEntries(fields), ...headers } })
}

/** Sends FIN instead of an answer. */
export function closeAtOnce(): Behaviour {
  return async (exchange) => exchange.close()
}

// ---- Bad redirects

/** Redirects every path to itself. */
export function redirectLoop(): Behaviour {
  return (exchange) => redirect(exchange.request.path)(exchange)
}

/** Redirects to a new path each time, without an end. It has to be served under `/maze*`. */
export function redirectMaze(): Behaviour {
  let turns = 0
  return (exchange) => {
    turns += 1
    return redirect(`/maze/${turns}`)(exchange)
  }
}

/** Sends a redirect whose own body never ends. */
export function endless3xxBody(to: string, code = 302): Behaviour {
  const body = forever(bodyOf(BLOCK_BYTES, 'redirect'))
  return (exchange) => send(exchange, { status: code, headers: { location: to, connection: 'close' }, body })
}
