// Deflates the body in a part into another part, and keeps the smaller of the two. Touches no journal.
import type { SpoolReader, SpoolWriter } from '../../ports/spool.ts'
import type { Deflater, Turn } from '../../zip/deflate.ts'
import type { SpooledBody } from './entry.ts'
import { piecesOf } from './pack-members.ts'

export interface DeflatePartOptions {
  deflater: Deflater
  /** A reader of the archive's spool. */
  reader(): SpoolReader
  spool: SpoolWriter
  turn: Turn
}

/** How much of a body is deflated first, as a sample. Encrypted or compressed bytes do not shrink, so the rest is spared. */
const SAMPLE_BYTES = 1024 * 1024
/** If the sample shrinks by less, deflating the rest is not worth its time. */
const MIN_GAIN_PERCENT = 2

/**
 * Resolves to where the body lies now. The part that is not needed any more is removed.
 * @throws if the turn's signal aborts; then both parts may be left
 */
export async function deflatePart(
  raw: SpooledBody,
  { deflater, reader, spool, turn }: DeflatePartOptions,
): Promise<SpooledBody> {
  await using source = reader()
  const sampleBytes = Math.min(SAMPLE_BYTES, raw.sizeBytes)
  const sample: Buffer[] = []
  for await (const piece of piecesOf(source, raw.file, 0, sampleBytes)) sample.push(piece)
  const shrunk = await deflater.inMemory(sample, turn)
  if (shrunk === null || shrunk.sizeBytes > sampleBytes * (1 - MIN_GAIN_PERCENT / 100)) return raw
  const part = await spool.createPart()
  try {
    const pieces = piecesOf(source, raw.file, 0, raw.sizeBytes)
    const deflated = await deflater.streaming(pieces, (buffers) => part.write(buffers), turn)
    await part.close()
    const isSmaller = deflated.sizeBytes < raw.sizeBytes
    await spool.discardPart(isSmaller ? raw.file : part.file)
    return isSmaller ? { ...raw, file: part.file, deflated } : raw
  } catch (error) {
    await part.discard()
    throw error
  }
}
