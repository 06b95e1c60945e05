// Puts a zip together in memory: the header before each body, and what follows the last one. No I/O.
import {
  centralHeaderSize,
  endRecords,
  localHeaderSize,
  writeCentralHeader,
  writeLocalHeader,
  type ZipEntry,
} from './records.ts'

export type Member = Omit<ZipEntry, 'offset' | 'name'> & { readonly name: string }

export interface ZipWriter {
  /** The header of the next member; `offset` is where it will stand in the archive. */
  header(member: Member, offset: number): Buffer
  headerBytes(member: Member): number
  /** Central directory and end records, for an archive whose last body ends at `offset`. */
  trailer(offset: number): Buffer[]
}

const TRAILER_CHUNK_BYTES = 256 * 1024

export function createZipWriter(): ZipWriter {
  const entries: ZipEntry[] = []
  return {
    header(member, offset) {
      const entry = { ...member, name: Buffer.from(member.name), offset }
      entries.push(entry)
      return localHeader(entry)
    },
    headerBytes: (member) => localHeaderSize(Buffer.byteLength(member.name), member),
    trailer(offset) {
      const chunks: Buffer[] = []
      let chunk = Buffer.allocUnsafe(TRAILER_CHUNK_BYTES)
      let end = 0
      let directorySize = 0
      for (const entry of entries) {
        if (chunk.length - end < centralHeaderSize(entry.name.length, entry, entry.offset)) {
          chunks.push(chunk.subarray(0, end))
          chunk = Buffer.allocUnsafe(TRAILER_CHUNK_BYTES)
          end = 0
        }
        const next = writeCentralHeader(chunk, end, entry)
        directorySize += next - end
        end = next
      }
      chunks.push(chunk.subarray(0, end))
      chunks.push(endRecords({ entries: entries.length, directoryOffset: offset, directorySize }))
      return chunks
    },
  }
}

function localHeader(entry: ZipEntry): Buffer {
  const header = Buffer.allocUnsafe(localHeaderSize(entry.name.length, entry))
  writeLocalHeader(header, 0, entry)
  return header
}
