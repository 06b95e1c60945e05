// Makes the parts of a zip that are not bodies: the header before each body, and what follows the last one. No I/O.
import {
  centralHeaderSize,
  endRecords,
  localHeaderSize,
  writeCentralHeader,
  writeLocalHeader,
  type ZipEntry,
} from './records.ts'

export type Member = Omit<ZipEntry, 'offset' | 'name'> & { readonly name: string }

/** Returns memory of so many bytes. */
export type Allocate = (bytes: number) => Buffer

export interface ZipWriter {
  /** Makes the header of the next member. `offset` is where the header will stand in the archive. */
  header(member: Member, offset: number, allocate?: Allocate): Buffer
  headerBytes(member: Member): number
  /** Returns central directory and end records for an archive whose last body ends at `offset`. */
  trailer(offset: number): Buffer[]
}

/** Chunks double in size, because most directories are small. An archive that waits for its turn has no chunk yet. */
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

/** Keeps the central directory as bytes from the first entry on. A record takes a tenth of the memory of an object. */
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
