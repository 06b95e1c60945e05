// Gathers the small chunks of one body in memory of its own: what comes one after the other becomes one buffer.
import type { Lease } from '../lib/blocks.ts'
import type { Piece, StagingMemory } from './staging-memory.ts'

export interface Copies {
  /** Appends to `chunks`, and to `leases` what keeps the memory; `soonBytes` is what is to be expected, this chunk included. */
  add(chunk: Buffer, soonBytes: number, chunks: Buffer[], leases: Lease[]): void
}

export function createCopies(staging: StagingMemory): Copies {
  let piece: Piece | null = null
  let usedBytes = 0
  /** What was appended last, if it lies in this piece. */
  let last: Buffer | null = null
  let lastStart = 0

  return {
    add(chunk, soonBytes, chunks, leases) {
      for (let from = 0; from < chunk.length; ) {
        if (piece === null || usedBytes === piece.memory.length) {
          piece = staging.piece(Math.max(soonBytes, chunk.length) - from)
          if (piece.lease !== null) leases.push(piece.lease)
          usedBytes = 0
          last = null
        }
        const { memory } = piece
        // Not where a chunk that is not copied came after it.
        const grows = last !== null && chunks.at(-1) === last
        if (!grows) lastStart = usedBytes
        const bytes = chunk.copy(memory, usedBytes, from)
        usedBytes += bytes
        from += bytes
        last = lastStart === 0 && usedBytes === memory.length ? memory : memory.subarray(lastStart, usedBytes)
        if (grows) chunks[chunks.length - 1] = last
        else chunks.push(last)
      }
    },
  }
}
