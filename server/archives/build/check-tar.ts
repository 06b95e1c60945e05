// Reads a packed tar back from its spool, header by header, and compares it with what was placed. Writes nothing.
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { readForward, readTar } from '#contracts/formats/tar.ts'
import type { Sealer } from './sealer.ts'

export interface TarCheck {
  /** Fills `target` with the archive's bytes from `offset` on. Resolves to the number of bytes. */
  fill(offset: number, target: Uint8Array): Promise<number>
  readonly sizeBytes: number
  readonly gzip: boolean
  readonly members: Sealer['members']
  readonly signal: AbortSignal
}

const PIECE_BYTES = 256 * 1024

/** @throws if the archive is not a sound tar of exactly these members in this order, or the signal's reason if it aborts */
export async function checkTar(check: TarCheck): Promise<void> {
  if (!check.gzip) {
    return await compare(check, async (offset, length) => {
      const target = Buffer.allocUnsafe(length)
      return target.subarray(0, await check.fill(offset, target))
    })
  }
  const pieces = inflated(check)
  try {
    await compare(check, readForward(pieces))
  } finally {
    await pieces.return()
  }
}

async function compare({ members, signal }: TarCheck, read: Parameters<typeof readTar>[0]): Promise<void> {
  let count = 0
  for await (const entries of readTar(read)) {
    signal.throwIfAborted()
    for (const { name, sizeBytes } of entries) {
      const placed = members[count++]
      if (name === placed?.name && sizeBytes === placed.sizeBytes) continue
      const expected = placed === undefined ? 'nothing' : `"${placed.name}" of ${placed.sizeBytes} bytes`
      throw new Error(`${expected} placed, "${name}" of ${sizeBytes} bytes in the tar`)
    }
  }
  if (count !== members.length) throw new Error(`${members.length} members placed, ${count} in the tar`)
}

/** Inflates to the very end, because gzip has its checksum there. A caller that returns early leaves nothing running. */
async function* inflated({ fill, sizeBytes, signal }: TarCheck): AsyncGenerator<Uint8Array, void> {
  const gunzip = createGunzip({ chunkSize: PIECE_BYTES, rejectGarbageAfterEnd: true })
  const pieces = async function* () {
    for (let offset = 0; offset < sizeBytes; offset += PIECE_BYTES) {
      const target = Buffer.allocUnsafe(Math.min(PIECE_BYTES, sizeBytes - offset))
      yield target.subarray(0, await fill(offset, target))
    }
  }
  const fed = pipeline(pieces, gunzip, { signal })
  fed.catch(() => {})
  try {
    yield* gunzip as AsyncIterable<Uint8Array>
    await fed
  } finally {
    gunzip.destroy()
    await fed.catch(() => {})
  }
}
