// Zips as the server makes them, small enough to damage by hand. Also tars for the same purpose.
import { crc32, deflateRawSync } from 'node:zlib'
import {
  centralHeaderSize,
  endRecords,
  localHeaderSize,
  writeCentralHeader,
  writeLocalHeader,
} from '../../server/zip/records.ts'

export interface ZipFixture {
  bytes: Buffer
  /** Offsets of the local headers. */
  headers: number[]
  /** Offset of the central directory. */
  directory: number
}

interface ZipOptions {
  /** Bytes to insert after the body of the member of that name. A sound archive has none. */
  gap?: Record<string, Buffer>
  deflate?: boolean
}

export function makeZip(members: Record<string, Buffer>, { gap = {}, deflate = false }: ZipOptions = {}): ZipFixture {
  const parts: Buffer[] = []
  const central: Buffer[] = []
  const headers: number[] = []
  let offset = 0
  for (const [text, body] of Object.entries(members)) {
    const name = Buffer.from(text)
    const between = gap[text] ?? Buffer.alloc(0)
    const held = deflate ? deflateRawSync(body) : body
    const entry = {
      name,
      crc32: crc32(body),
      size: body.length,
      deflatedSize: deflate ? held.length : null,
      modifiedMs: 0,
      offset,
    }
    const local = Buffer.alloc(localHeaderSize(name.length, entry))
    writeLocalHeader(local, 0, entry)
    const header = Buffer.alloc(centralHeaderSize(name.length, entry, offset))
    writeCentralHeader(header, 0, entry)
    headers.push(offset)
    central.push(header)
    parts.push(local, held, between)
    offset += local.length + held.length + between.length
  }
  const directorySize = central.reduce((sum, { length }) => sum + length, 0)
  const end = endRecords({ entries: headers.length, directoryOffset: offset, directorySize })
  return { bytes: Buffer.concat([...parts, ...central, end]), headers, directory: offset }
}

/** Bytes that do not repeat nearby, so that a misplaced piece shows. */
export function patternBytes(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size)
  let state = seed
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    bytes[at] = state >>> 24
  }
  return bytes
}
