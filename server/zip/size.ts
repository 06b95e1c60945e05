// Computes the size of a zip that stores its members without compression. Writes nothing and holds no member.
import { centralHeaderSize, endRecords, localHeaderSize } from './records.ts'

export function storedZipBytes(members: Iterable<{ readonly name: string; readonly sizeBytes: number }>): number {
  let entries = 0
  let offset = 0
  let directorySize = 0
  for (const { name, sizeBytes } of members) {
    const nameLength = Buffer.byteLength(name)
    const sizes = { size: sizeBytes, deflatedSize: null }
    directorySize += centralHeaderSize(nameLength, sizes, offset)
    offset += localHeaderSize(nameLength, sizes) + sizeBytes
    entries++
  }
  return offset + directorySize + endRecords({ entries, directoryOffset: offset, directorySize }).length
}
