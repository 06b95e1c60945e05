// Writes the records of a zip as bytes: local headers with sizes and CRC, central directory, end. No I/O, no state.
// Numbers in comments are sections of PKWARE's APPNOTE.TXT 6.3.10.
import {
  CENTRAL_HEADER_BYTES,
  CENTRAL_HEADER_SIGNATURE,
  END_BYTES,
  END_SIGNATURE,
  LOCAL_HEADER_BYTES,
  LOCAL_HEADER_SIGNATURE,
  MAX_16,
  MAX_32,
  METHOD_DEFLATE,
  METHOD_STORE,
  ZIP64_END_BYTES,
  ZIP64_END_SIGNATURE,
  ZIP64_LOCATOR_BYTES,
  ZIP64_LOCATOR_SIGNATURE,
} from '#contracts/formats/zip-layout.ts'

export interface ZipEntry {
  /** UTF-8, at most 65 535 bytes. */
  readonly name: Uint8Array
  /** CRC of the file, and not of its compressed bytes (4.4.7). */
  readonly crc32: number
  readonly size: number
  /** Size of the body after deflating (RFC 1951). Null if the body is stored as it is. */
  readonly deflatedSize: number | null
  readonly modifiedMs: number
  /** Where the local header stands, from the start of the archive. */
  readonly offset: number
}

const EXTRA_HEADER_BYTES = 4

const FLAG_UTF8 = 1 << 11 // 4.4.4, bit 11
const VERSION_DEFAULT = 20 // 4.4.3.2
const VERSION_ZIP64 = 45
const MADE_BY_UNIX = 3 << 8 // 4.4.2.2: with this the external attributes hold a Unix mode
const REGULAR_FILE_0644 = (0o100644 << 16) >>> 0

const DOS_MIN_MS = Date.UTC(1980, 0, 1)
const DOS_MAX_MS = Date.UTC(2107, 11, 31, 23, 59, 58)

/**
 * Returns the time in the low half and the date in the high half, as the two fields follow each other (4.4.6). It uses UTC, so
 * that the same input gives the same bytes everywhere.
 */
function dosDateTime(modifiedMs: number): number {
  const clampedMs = modifiedMs > DOS_MIN_MS ? Math.min(modifiedMs, DOS_MAX_MS) : DOS_MIN_MS
  const at = new Date(clampedMs)
  const time = (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1)
  const date = ((at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate()
  return ((date << 16) | time) >>> 0
}

const writeUInt64 = (target: Buffer, value: number, at: number) => target.writeBigUInt64LE(BigInt(value), at)

type Sizes = Pick<ZipEntry, 'size' | 'deflatedSize'>

/** How many bytes the body takes in the archive. */
export function compressedSize({ size, deflatedSize }: Sizes): number {
  return deflatedSize ?? size
}

/** Size of the zip64 extra field of a local header. The field holds both sizes, or it is left out (4.5.3). */
function localZip64Bytes(sizes: Sizes): number {
  return Math.max(sizes.size, compressedSize(sizes)) >= MAX_32 ? 16 : 0
}

/** Size of the zip64 extra field of a central header. The field holds only what does not fit its own field (4.5.3). */
function centralZip64Bytes(sizes: Sizes, offset: number): number {
  let bytes = 0
  if (sizes.size >= MAX_32) bytes += 8
  if (compressedSize(sizes) >= MAX_32) bytes += 8
  if (offset >= MAX_32) bytes += 8
  return bytes
}

function extraBytes(zip64Bytes: number): number {
  return zip64Bytes === 0 ? 0 : EXTRA_HEADER_BYTES + zip64Bytes
}

/** Writes what local and central headers share, from "version needed" to "extra field length" (4.3.7, 4.3.12). */
function writeCommonFields(
  target: Buffer,
  at: number,
  entry: ZipEntry,
  zip64Bytes: number,
  size: number,
  compressed: number,
): number {
  let end = target.writeUInt16LE(zip64Bytes === 0 ? VERSION_DEFAULT : VERSION_ZIP64, at)
  end = target.writeUInt16LE(FLAG_UTF8, end)
  end = target.writeUInt16LE(entry.deflatedSize === null ? METHOD_STORE : METHOD_DEFLATE, end)
  end = target.writeUInt32LE(dosDateTime(entry.modifiedMs), end)
  end = target.writeUInt32LE(entry.crc32, end)
  end = target.writeUInt32LE(compressed, end)
  end = target.writeUInt32LE(size, end)
  end = target.writeUInt16LE(entry.name.length, end)
  return target.writeUInt16LE(extraBytes(zip64Bytes), end)
}

function writeZip64Header(target: Buffer, at: number, zip64Bytes: number): number {
  return target.writeUInt16LE(zip64Bytes, target.writeUInt16LE(0x0001, at))
}

export function localHeaderSize(nameLength: number, sizes: Sizes): number {
  return LOCAL_HEADER_BYTES + nameLength + extraBytes(localZip64Bytes(sizes))
}

/** Writes the header that stands before the body (4.3.7). Returns where it ends. */
export function writeLocalHeader(target: Buffer, at: number, entry: ZipEntry): number {
  const zip64Bytes = localZip64Bytes(entry)
  const compressed = compressedSize(entry)
  // If there is an extra field, it holds both sizes, and their own fields must hold the maximum (4.5.3).
  const isPlain = zip64Bytes === 0
  let end = target.writeUInt32LE(LOCAL_HEADER_SIGNATURE, at)
  end = writeCommonFields(target, end, entry, zip64Bytes, isPlain ? entry.size : MAX_32, isPlain ? compressed : MAX_32)
  target.set(entry.name, end)
  end += entry.name.length
  if (isPlain) return end
  end = writeZip64Header(target, end, zip64Bytes)
  return writeUInt64(target, compressed, writeUInt64(target, entry.size, end))
}

export function centralHeaderSize(nameLength: number, sizes: Sizes, offset: number): number {
  return CENTRAL_HEADER_BYTES + nameLength + extraBytes(centralZip64Bytes(sizes, offset))
}

/** Writes the entry's place in the central directory (4.3.12). Returns where it ends. */
export function writeCentralHeader(target: Buffer, at: number, entry: ZipEntry): number {
  const zip64Bytes = centralZip64Bytes(entry, entry.offset)
  const compressed = compressedSize(entry)
  let end = target.writeUInt32LE(CENTRAL_HEADER_SIGNATURE, at)
  end = target.writeUInt16LE(MADE_BY_UNIX | (zip64Bytes === 0 ? VERSION_DEFAULT : VERSION_ZIP64), end)
  end = writeCommonFields(target, end, entry, zip64Bytes, Math.min(entry.size, MAX_32), Math.min(compressed, MAX_32))
  end = target.writeUInt16LE(0, end) // comment length
  end = target.writeUInt16LE(0, end) // disk
  end = target.writeUInt16LE(0, end) // internal attributes
  end = target.writeUInt32LE(REGULAR_FILE_0644, end)
  end = target.writeUInt32LE(Math.min(entry.offset, MAX_32), end)
  target.set(entry.name, end)
  end += entry.name.length
  if (zip64Bytes === 0) return end
  end = writeZip64Header(target, end, zip64Bytes)
  for (const value of [entry.size, compressed, entry.offset]) if (value >= MAX_32) end = writeUInt64(target, value, end)
  return end
}

interface ZipDirectory {
  readonly entries: number
  readonly directoryOffset: number
  readonly directorySize: number
}

/** Makes what follows the central directory: zip64 record and locator if a number needs them, then the end record. */
export function endRecords({ entries, directoryOffset, directorySize }: ZipDirectory): Buffer {
  const isZip64 = entries >= MAX_16 || directoryOffset >= MAX_32 || directorySize >= MAX_32
  const target = Buffer.alloc(END_BYTES + (isZip64 ? ZIP64_END_BYTES + ZIP64_LOCATOR_BYTES : 0))
  let end = 0
  if (isZip64) {
    // 4.3.14: zip64 end of central directory record. The size in it leaves out the first 12 bytes.
    end = target.writeUInt32LE(ZIP64_END_SIGNATURE, end)
    end = writeUInt64(target, ZIP64_END_BYTES - 12, end)
    end = target.writeUInt16LE(MADE_BY_UNIX | VERSION_ZIP64, end)
    end = target.writeUInt16LE(VERSION_ZIP64, end)
    end = target.writeUInt32LE(0, end) // this disk
    end = target.writeUInt32LE(0, end) // the directory's disk
    end = writeUInt64(target, entries, end) // on this disk
    end = writeUInt64(target, entries, end)
    end = writeUInt64(target, directorySize, end)
    end = writeUInt64(target, directoryOffset, end)
    // 4.3.15: zip64 end of central directory locator.
    end = target.writeUInt32LE(ZIP64_LOCATOR_SIGNATURE, end)
    end = target.writeUInt32LE(0, end) // disk
    end = writeUInt64(target, directoryOffset + directorySize, end)
    end = target.writeUInt32LE(1, end) // disks
  }
  // 4.3.16: end of central directory record. A value that fits stands here too (4.4.1.4).
  end = target.writeUInt32LE(END_SIGNATURE, end)
  end = target.writeUInt16LE(0, end) // this disk
  end = target.writeUInt16LE(0, end) // the directory's disk
  end = target.writeUInt16LE(Math.min(entries, MAX_16), end) // on this disk
  end = target.writeUInt16LE(Math.min(entries, MAX_16), end)
  end = target.writeUInt32LE(Math.min(directorySize, MAX_32), end)
  end = target.writeUInt32LE(Math.min(directoryOffset, MAX_32), end)
  target.writeUInt16LE(0, end) // comment length
  return target
}
