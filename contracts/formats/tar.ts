// Walks a tar from header to header (POSIX.1-2024: pax, "ustar Interchange Format" and "pax Header Block") and reports
// what does not fit. It takes plain files only, because sheaf makes no others, and skips bodies.

/** The bytes are not a tar of plain files, or the tar is damaged. */
export class TarStructureError extends Error {
  override readonly name = 'TarStructureError'
}

/**
 * Resolves to exactly `length` bytes from `offset`, or to fewer at the end of the file. Offsets never go back to bytes
 * that were read before, so that a stream can be read too.
 */
type ReadBytes = (offset: number, length: number) => Promise<Uint8Array>

/** Reads a stream of pieces. It holds one piece at a time, and drops the bytes that are skipped. */
export function readForward(pieces: AsyncIterator<Uint8Array, void>): ReadBytes {
  let piece: Uint8Array = new Uint8Array(0)
  let pieceAt = 0
  return async (offset, length) => {
    const target = new Uint8Array(length)
    for (let done = 0; done < length; ) {
      const from = offset + done - pieceAt
      if (from < piece.length) {
        const part = piece.subarray(from, from + length - done)
        target.set(part, done)
        done += part.length
        continue
      }
      const next = await pieces.next()
      if (next.done) return target.subarray(0, done)
      pieceAt += piece.length
      piece = next.value
    }
    return target
  }
}

export interface TarEntry {
  readonly name: string
  readonly sizeBytes: number
}

const BLOCK_BYTES = 512
/** Bytes read at a time, in whole blocks. Small bodies are read along with their headers, large ones are skipped. */
const CHUNK_BYTES = 64 * 1024
/** Far more than the records for the longest name need. */
const MAX_PAX_BYTES = 64 * 1024
/** A tar may be filled with zeros up to a whole record of 20 blocks. */
const RECORD_BYTES = 20 * BLOCK_BYTES

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function fail(message: string): never {
  throw new TarStructureError(message)
}

function decode(bytes: Uint8Array, what: string): string {
  try {
    return utf8.decode(bytes)
  } catch {
    return fail(`${what} is not UTF-8`)
  }
}

/** Reads a text field, which ends at its first NUL or fills its length. */
function textAt(block: Uint8Array, at: number, length: number): string {
  const field = block.subarray(at, at + length)
  const end = field.indexOf(0)
  if (end >= 0 && field.subarray(end).some((byte) => byte !== 0)) fail(`a text field at ${at} goes on after its end`)
  return decode(end < 0 ? field : field.subarray(0, end), 'a name')
}

/** Reads octal digits, then spaces or NULs. A larger number is binary after a byte of 0x80, as GNU tar writes it. */
function numberAt(block: Uint8Array, at: number, length: number, what: string): number {
  let value = 0
  if (block[at] === 0x80) {
    for (let index = at + 1; index < at + length; index++) value = value * 256 + block[index]!
    return Number.isSafeInteger(value) ? value : fail(`the ${what} is beyond all numbers`)
  }
  let index = at
  for (; index < at + length && block[index]! >= 0x30 && block[index]! <= 0x37; index++) {
    value = value * 8 + block[index]! - 0x30
  }
  const digits = index - at
  while (index < at + length && (block[index] === 0 || block[index] === 0x20)) index++
  return digits > 0 && digits < length && index === at + length ? value : fail(`the ${what} is not an octal number`)
}

/** Sums all bytes. The checksum's own field counts as spaces. */
function checksumOf(block: Uint8Array): number {
  let sum = 8 * 0x20
  for (let index = 0; index < BLOCK_BYTES; index++) if (index < 148 || index >= 156) sum += block[index]!
  return sum
}

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)

const MAGIC = 'ustar\x0000'
/** GNU tar's own format. It has other fields in place of the prefix. */
const GNU_MAGIC = 'ustar  \0'
const TYPE_FILE = 0x30
const TYPE_PAX = 0x78

interface Header extends TarEntry {
  readonly type: number
}

function parseHeader(block: Uint8Array): Header {
  const checksum = numberAt(block, 148, 8, 'checksum')
  if (checksum !== checksumOf(block)) fail('the header does not match its checksum')
  const magic = String.fromCharCode(...block.subarray(257, 265))
  if (magic !== MAGIC && magic !== GNU_MAGIC) fail('the header has another magic than ustar')
  numberAt(block, 100, 8, 'mode')
  numberAt(block, 108, 8, 'uid')
  numberAt(block, 116, 8, 'gid')
  numberAt(block, 136, 12, 'date')
  if (magic === MAGIC) for (const at of [329, 337]) numberAt(block, at, 8, 'device')
  const type = block[156]!
  if (type !== TYPE_FILE && type !== TYPE_PAX) fail(`a member of type ${type} is not a plain file`)
  const prefix = magic === MAGIC ? textAt(block, 345, 155) : ''
  const name = textAt(block, 0, 100)
  return {
    type,
    name: prefix === '' ? name : `${prefix}/${name}`,
    sizeBytes: numberAt(block, 124, 12, 'size'),
  }
}

/** Reads records of "length key=value\n"; the length includes itself. Only two keys matter to this walk. */
function parsePax(bytes: Uint8Array): Partial<TarEntry> {
  const found: { name?: string; sizeBytes?: number } = {}
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at)
    const digits = space < 0 ? '' : decode(bytes.subarray(at, Math.min(space, at + 8)), 'a pax record')
    const end = at + (/^[1-9]\d*$/.test(digits) ? Number(digits) : fail('a pax record has no length'))
    if (end > bytes.length || end <= space || bytes[end - 1] !== 0x0a) fail('a pax record has a wrong length')
    const record = decode(bytes.subarray(space + 1, end - 1), 'a pax record')
    const equals = record.indexOf('=')
    if (equals < 1) fail('a pax record has no key')
    const value = record.slice(equals + 1)
    switch (record.slice(0, equals)) {
      case 'path':
        found.name = value
        break
      case 'size':
        found.sizeBytes = /^\d{1,16}$/.test(value) ? Number(value) : fail('the size in a pax record is not a number')
        break
    }
    at = end
  }
  return found
}

/**
 * Yields the members in order, many at a time. Throws a `TarStructureError` if a checksum, a number, a pax record or a
 * padding is wrong. If it runs to its end, every byte outside the bodies was checked. The archive then ends with two
 * blocks of zeros, and only zeros of the same record follow.
 */
export async function* readTar(read: ReadBytes): AsyncGenerator<TarEntry[]> {
  let chunk: Uint8Array = new Uint8Array(0)
  let chunkAt = 0
  let isLast = false
  let found: TarEntry[] = []
  let extended: Partial<TarEntry> | null = null
  let at = 0

  const isHere = (offset: number) => offset >= chunkAt && offset < chunkAt + chunk.length
  async function fetchChunk(offset: number): Promise<void> {
    chunk = await read(offset, CHUNK_BYTES)
    chunkAt = offset
    isLast = chunk.length < CHUNK_BYTES
  }
  function block(offset: number): Uint8Array {
    const bytes = chunk.subarray(offset - chunkAt, offset - chunkAt + BLOCK_BYTES)
    return bytes.length === BLOCK_BYTES ? bytes : fail(`it ends at ${chunkAt + chunk.length}, within a block`)
  }

  for (;;) {
    if (!isHere(at)) {
      if (found.length > 0) yield found
      found = []
      await fetchChunk(at)
    }
    const bytes = block(at)
    if (isZero(bytes)) break
    const header = parseHeader(bytes)
    const isPax = header.type === TYPE_PAX
    const { name, sizeBytes } = isPax ? header : { ...header, ...extended }
    if (isPax) {
      if (extended !== null) fail(`two pax headers follow each other at ${at}`)
      if (sizeBytes === 0 || sizeBytes > MAX_PAX_BYTES) fail(`a pax header of ${sizeBytes} bytes`)
      extended = {}
    } else {
      if (name === '' || name.endsWith('/') || name.includes('\0')) fail(`${JSON.stringify(name)} is not a file name`)
      found.push({ name, sizeBytes })
      extended = null
    }
    const bodyAt = at + BLOCK_BYTES
    const usedBytes = sizeBytes % BLOCK_BYTES
    const paddedAt = bodyAt + sizeBytes - usedBytes
    if (isPax) extended = parsePax(await collect(bodyAt, sizeBytes))
    if (usedBytes > 0) {
      if (!isHere(paddedAt)) await fetchChunk(paddedAt)
      if (!isZero(block(paddedAt).subarray(usedBytes))) fail(`the padding after "${name}" is not zero`)
    }
    at = paddedAt + (usedBytes > 0 ? BLOCK_BYTES : 0)
  }

  if (extended !== null) fail('a pax header without its member')
  const endAt = at + 2 * BLOCK_BYTES
  // Reads to the end of the file. Zeros that go on for longer than a record are not an end.
  for (; at < endAt || !isLast || isHere(at); at += BLOCK_BYTES) {
    if (!isHere(at)) await fetchChunk(at)
    if (chunk.length === 0 && at >= endAt) break
    if (!isZero(block(at))) fail(`bytes after its end at ${at}`)
    if (at >= endAt + RECORD_BYTES) fail(`zeros without end at ${at}`)
  }
  if (found.length > 0) yield found

  /** Reads the bytes of a pax header, block by block. */
  async function collect(offset: number, length: number): Promise<Uint8Array> {
    const target = new Uint8Array(length)
    for (let done = 0; done < length; done += BLOCK_BYTES) {
      if (!isHere(offset + done)) await fetchChunk(offset + done)
      target.set(block(offset + done).subarray(0, length - done), done)
    }
    return target
  }
}
