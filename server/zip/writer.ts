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

/** Memory of so many bytes. */
export type Allocate = (bytes: number) => Buffer

export interface ZipWriter {
  /** The header of the next member; `offset` is where it will stand in the archive. */
  header(member: Member, offset: number, allocate?: Allocate): Buffer
  headerBytes(member: Member): number
  /** Central directory and end records, for an archive whose last body ends at `offset`. */
  trailer(offset: number): Buffer[]
}

/** Chunks double from the first one on: most directories are small, and an archive that waits for its turn has none. */
const FIRST_CHUNK_BYTES = 8 * 1024
const MAX_CHUNK_BYTES = 256 * 1024

export function createZipWriter(): ZipWriter {
  const directory = createDirectory()
  return {
    header({ name, crc32, size, deflatedSize, modifiedMs }, offset, allocate = Buffer.allocUnsafe) {
      const entry = { name: Buffer.from(name), crc32, size, deflatedSize, modifiedMs, offset }
      directory.add(entry)
      const header = allocate(localHeaderSize(entry.name.length, entry))
      writeLocalHeader(header, 0, entry)
      return header
    },
    headerBytes: (member) => localHeaderSize(Buffer.byteLength(member.name), member),
    trailer(offset) {
      const { entries, sizeBytes, chunks } = directory
      return [...chunks(), endRecords({ entries, directoryOffset: offset, directorySize: sizeBytes })]
    },
  }
}

/** The central directory as bytes from the first entry on: a record is a tenth of what the entry would be as an object. */
function createDirectory() {
  const full: Buffer[] = []
  let chunk = Buffer.alloc(0)
  let end = 0
  let fullBytes = 0
  let entries = 0
  return {
    get entries() {
      return entries
    },
    get sizeBytes() {
      return fullBytes + end
    },
    add(entry: ZipEntry): void {
      const bytes = centralHeaderSize(entry.name.length, entry, entry.offset)
      if (chunk.length - end < bytes) {
        full.push(chunk.subarray(0, end))
        fullBytes += end
        const usualBytes = Math.min(MAX_CHUNK_BYTES, Math.max(FIRST_CHUNK_BYTES, 2 * chunk.length))
        chunk = Buffer.allocUnsafe(Math.max(usualBytes, bytes))
        end = 0
      }
      end = writeCentralHeader(chunk, end, entry)
      entries++
    },
    chunks: (): Buffer[] => [...full, chunk.subarray(0, end)],
  }
}
