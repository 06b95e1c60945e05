// What happens when all entries are in: the archive is closed in its format, and checked as a stranger would.
import { readDirectory } from '#contracts/zip.ts'
import type { Extent } from '../ports/journal.ts'
import { LOG, type SpoolReader, type SpoolWriter } from '../ports/spool.ts'
import { type Layout, readLayout } from './layout.ts'
import type { Sealer } from './sealer.ts'

/** Appends central directory and end records. @returns where they lie */
export async function closeZip(writer: SpoolWriter, sealer: Sealer): Promise<Extent> {
  const offset = writer.logBytes
  await writer.appendLog(sealer.trailer())
  return { file: LOG, offset, length: writer.logBytes - offset }
}

/** Reads the directory back. @throws where it is not one of so many entries */
export async function checkZip(reader: SpoolReader, layout: Layout, sealedEntries: number): Promise<void> {
  const read = async (offset: number, length: number) => {
    const target = Buffer.allocUnsafe(length)
    const bytes = await readLayout(layout, (...at) => reader.read(...at), offset, target)
    return target.subarray(0, bytes)
  }
  let entries = 0
  for await (const _ of readDirectory(read, layout.readableBytes)) entries++
  if (entries !== sealedEntries) throw new Error(`${sealedEntries} entries sealed, ${entries} in the zip`)
}
