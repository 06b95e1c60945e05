// Reads the end records, central directory and local headers of a zip, and reports what does not fit. It reads no
// bodies, and takes only zips of one disk without archive comment and encryption. Numbers in comments are sections of
// PKWARE's APPNOTE.TXT 6.3.10.
import {
  CENTRAL_HEADER_BYTES,
  CENTRAL_HEADER_SIGNATURE,
  END_BYTES,
  END_SIGNATURE,
  LOCAL_HEADER_BYTES,
  LOCAL_HEADER_SIGNATURE,
  MAX_16,
  MAX_32,
  METHOD_STORE,
  ZIP64_END_BYTES,
  ZIP64_END_SIGNATURE,
  ZIP64_LOCATOR_BYTES,
  ZIP64_LOCATOR_SIGNATURE,
} from './zip-layout.ts'

/** The bytes are not a zip, or the zip is damaged. */
export class ZipStructureError extends Error {
  override readonly name = 'ZipStructureError'
}

/** Resolves to exactly `length` bytes from `offset`, or to fewer at the end of the file. */
type ReadBytes = (offset: number, length: number) => Promise<Uint8Array>

export interface DirectoryEntry {
  readonly name: string
  readonly crc32: number
  readonly sizeBytes: number
  readonly compressedBytes: number
  readonly method: number
  readonly headerOffset: number
}

interface LocalHeader {
  readonly name: string
  readonly crc32: number
  readonly sizeBytes: number
  readonly compressedBytes: number
  /** Offset of the body from the start of the header. */
  readonly bodyOffset: number
}

/** The directory is read in pieces of this size. No header is longer, because its three lengths are 16-bit numbers. */
const CHUNK_BYTES = 256 * 1024

/** A byte order mark is part of the name, so the decoder must keep it. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function fail(message: string): never {
  throw new ZipStructureError(message)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function uint64(view: DataView, at: number): number {
  const value = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
  return Number.isSafeInteger(value) ? value : fail('a 64-bit number is beyond all sizes')
}

function decodeName(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    return fail('a name is not UTF-8')
  }
}

/** Replaces fields of all ones by the 64-bit values of the zip64 extra field, in the order of 4.5.3. */
function zip64Values(extra: Uint8Array, fields: readonly number[]): readonly number[] {
  if (!fields.includes(MAX_32)) return fields
  const view = viewOf(extra)
  let at = 0
  while (at + 4 <= extra.length) {
    const id = view.getUint16(at, true)
    const end = at + 4 + view.getUint16(at + 2, true)
    if (id === 0x0001 && end <= extra.length) {
      let next = at + 4
      return fields.map((field) => {
        if (field !== MAX_32) return field
        next += 8
        return next <= end ? uint64(view, next - 8) : fail('a zip64 extra field is too short')
      })
    }
    at = end
  }
  return fail('a zip64 extra field is missing')
}

/**
 * Yields the central directory in its order, many entries at a time. Throws a `ZipStructureError` if a count, an
 * offset, a signature or the order does not fit. If it runs to its end, every byte after the last body is accounted
 * for. The entries then lie before the directory, in order and without overlap.
 */
export async function* readDirectory(read: ReadBytes, sizeBytes: number): AsyncGenerator<DirectoryEntry[]> {
  const { entries, offset, end } = await findDirectory(read, sizeBytes)
  let at = offset
  let bodiesEnd = 0
  let chunk: Uint8Array = new Uint8Array(0)
  let view = viewOf(chunk)
  let chunkAt = at
  /** The entries of this chunk. They are yielded together, as a promise for each would cost more than reading it. */
  let found: DirectoryEntry[] = []

  async function fetchChunk(): Promise<void> {
    chunk = await readExactly(read, at, Math.min(CHUNK_BYTES, end - at))
    view = viewOf(chunk)
    chunkAt = at
  }

  const isThere = (length: number): boolean => {
    if (at + length > end) fail(`the central directory ends within an entry at ${at}`)
    return at + length <= chunkAt + chunk.length
  }

  /** Length of the header at `at`; null if more of the directory must be fetched first. Throws if none fits there. */
  function headerBytes(): number | null {
    if (!isThere(CENTRAL_HEADER_BYTES)) return null
    const from = at - chunkAt
    if (view.getUint32(from, true) !== CENTRAL_HEADER_SIGNATURE) fail(`no central header at ${at}`)
    const lengths = view.getUint16(from + 28, true) + view.getUint16(from + 30, true) + view.getUint16(from + 32, true)
    return isThere(CENTRAL_HEADER_BYTES + lengths) ? CENTRAL_HEADER_BYTES + lengths : null
  }

  for (let index = 0; index < entries; index++) {
    if (at === end) fail(`the central directory has ${index} entries, the end record says ${entries}`)
    let bytes = headerBytes()
    if (bytes === null) {
      if (found.length > 0) yield found
      found = []
      await fetchChunk()
      bytes = headerBytes()!
    }
    const entry = parseCentralHeader(chunk, view, at - chunkAt)
    if (entry.headerOffset < bodiesEnd) fail(`"${entry.name}" starts before the entry before it ends`)
    const nameBytes = view.getUint16(at - chunkAt + 28, true)
    bodiesEnd = entry.headerOffset + LOCAL_HEADER_BYTES + nameBytes + entry.compressedBytes
    if (bodiesEnd > offset) fail(`"${entry.name}" reaches into the central directory`)
    at += bytes
    found.push(entry)
  }
  if (at !== end) fail(`the central directory goes on after the ${entries} entries that the end record says`)
  if (entries === 0 && offset !== 0) fail('an archive without entries has bytes before its directory')
  if (found.length > 0) yield found
}

async function readExactly(read: ReadBytes, offset: number, length: number): Promise<Uint8Array> {
  const bytes = await read(offset, length)
  if (bytes.length !== length) fail(`${bytes.length} bytes instead of ${length} at ${offset}`)
  return bytes
}

function parseCentralHeader(bytes: Uint8Array, view: DataView, at: number): DirectoryEntry {
  const nameEnd = at + CENTRAL_HEADER_BYTES + view.getUint16(at + 28, true)
  const name = decodeName(bytes.subarray(at + CENTRAL_HEADER_BYTES, nameEnd))
  const extra = bytes.subarray(nameEnd, nameEnd + view.getUint16(at + 30, true))
  const fields = [view.getUint32(at + 24, true), view.getUint32(at + 20, true), view.getUint32(at + 42, true)]
  const [sizeBytes, compressedBytes, headerOffset] = zip64Values(extra, fields)
  const method = view.getUint16(at + 10, true)
  if (method === METHOD_STORE && sizeBytes !== compressedBytes) fail(`"${name}" is stored but its two sizes differ`)
  return {
    name,
    crc32: view.getUint32(at + 16, true),
    sizeBytes: sizeBytes!,
    compressedBytes: compressedBytes!,
    method,
    headerOffset: headerOffset!,
  }
}

interface DirectoryPlace {
  readonly entries: number
  readonly offset: number
  readonly end: number
}

/** The end record (4.3.16) must be the last bytes. A zip64 record and its locator are right before it (4.3.6). */
async function findDirectory(read: ReadBytes, sizeBytes: number): Promise<DirectoryPlace> {
  if (sizeBytes < END_BYTES) fail(`${sizeBytes} bytes are too few for a zip`)
  const endAt = sizeBytes - END_BYTES
  const view = viewOf(await readExactly(read, endAt, END_BYTES))
  if (view.getUint32(0, true) !== END_SIGNATURE) fail('no end of central directory record at the end')
  if (view.getUint16(20, true) !== 0) fail('an archive comment without its text')
  const classic = [view.getUint16(10, true), view.getUint32(12, true), view.getUint32(16, true)] as const
  const isZip64 = classic[0] === MAX_16 || classic[1] === MAX_32 || classic[2] === MAX_32
  const zip64At = endAt - ZIP64_LOCATOR_BYTES - ZIP64_END_BYTES
  const [entries, size, offset] = isZip64 ? await readZip64End(read, zip64At, classic) : classic
  const end = isZip64 ? zip64At : endAt
  if (offset + size !== end) {
    fail(`a central directory of ${size} bytes at ${offset} does not end where the end records begin, at ${end}`)
  }
  if (view.getUint16(8, true) !== classic[0]) fail('the entries on this disk are not all entries')
  return { entries, offset, end }
}

/** Reads the records of 4.3.14 and 4.3.15. A classic field that is not all ones must have the same value in both. */
async function readZip64End(
  read: ReadBytes,
  zip64At: number,
  classic: readonly [number, number, number],
): Promise<[number, number, number]> {
  if (zip64At < 0) fail('no room for the zip64 records that the end record asks for')
  const view = viewOf(await readExactly(read, zip64At, ZIP64_END_BYTES + ZIP64_LOCATOR_BYTES))
  if (view.getUint32(ZIP64_END_BYTES, true) !== ZIP64_LOCATOR_SIGNATURE) fail('no zip64 locator before the end record')
  if (uint64(view, ZIP64_END_BYTES + 8) !== zip64At) fail('the zip64 locator does not point at the record before it')
  if (view.getUint32(0, true) !== ZIP64_END_SIGNATURE)
    fail('no zip64 end of central directory record before its locator')
  const values: [number, number, number] = [uint64(view, 32), uint64(view, 40), uint64(view, 48)]
  if (uint64(view, 24) !== values[0]) fail('the entries on this disk are not all entries')
  const limits = [MAX_16, MAX_32, MAX_32]
  const agree = values.every((value, index) => classic[index] === limits[index] || classic[index] === value)
  return agree ? values : fail('the zip64 record and the end record disagree')
}

/** Reads the header before a body (4.3.7). `bytes` begins with the whole header; more may follow. */
export function parseLocalHeader(bytes: Uint8Array): LocalHeader {
  if (bytes.length < LOCAL_HEADER_BYTES) fail('a local header is cut off')
  const view = viewOf(bytes)
  if (view.getUint32(0, true) !== LOCAL_HEADER_SIGNATURE) fail('no local header where the central directory says')
  const nameEnd = LOCAL_HEADER_BYTES + view.getUint16(26, true)
  const bodyOffset = nameEnd + view.getUint16(28, true)
  if (bytes.length < bodyOffset) fail('a local header is cut off')
  const fields = [view.getUint32(22, true), view.getUint32(18, true)]
  const [sizeBytes, compressedBytes] = zip64Values(bytes.subarray(nameEnd, bodyOffset), fields)
  return {
    name: decodeName(bytes.subarray(LOCAL_HEADER_BYTES, nameEnd)),
    crc32: view.getUint32(14, true),
    sizeBytes: sizeBytes!,
    compressedBytes: compressedBytes!,
    bodyOffset,
  }
}
