// Packs an archive's sealed bodies into one part of its spool, for tar and tar.gz.
import { Readable } from 'node:stream'
import type { Extent } from '../../ports/journal.ts'
import type { SpoolReader, SpoolWriter } from '../../ports/spool.ts'
import { packTar } from '../../tar/pack.ts'
import type { Sealer } from './sealer.ts'

const READ_BYTES = 256 * 1024

/** Closes the reader at the end. @returns where the packed archive lies */
export async function packMembers(
  reader: SpoolReader,
  writer: SpoolWriter,
  members: Sealer['members'],
  gzip: boolean,
  signal: AbortSignal,
): Promise<Extent> {
  await using source = reader
  const part = await writer.createPart()
  const length = await packTar({
    gzip,
    signal,
    members: members.map(({ file, offset, ...member }) => ({
      ...member,
      open: () => Readable.from(piecesOf(source, file, offset, member.sizeBytes), { objectMode: false }),
    })),
    write: (buffers) => part.write(buffers),
  })
  await part.close()
  return { file: part.file, offset: 0, length }
}

/** Reads a range of a spool file piece by piece. Each piece has its own memory. */
export async function* piecesOf(reader: SpoolReader, file: string, offset: number, sizeBytes: number) {
  for (let done = 0; done < sizeBytes; ) {
    const target = Buffer.allocUnsafe(Math.min(READ_BYTES, sizeBytes - done))
    const bytes = await reader.read(file, offset + done, target)
    if (bytes === 0) throw new Error(`the spool file ${file} ends early`)
    yield target.subarray(0, bytes)
    done += bytes
  }
}
