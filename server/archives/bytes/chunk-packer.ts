// Gathers the small chunks of one body in memory of its own: what comes one after the other becomes one buffer.
import type { Lease } from '../../lib/blocks.ts'
import type { Piece, StagingMemory } from './staging-memory.ts'

export class Copies {
  readonly #staging: StagingMemory
  #piece: Piece | null = null
  #usedBytes = 0
  /** What was appended last, if it lies in this piece. */
  #last: Buffer | null = null
  #lastStart = 0

  constructor(staging: StagingMemory) {
    this.#staging = staging
  }

  /** Appends to `chunks`, and to `leases` what keeps the memory; `soonBytes` is what is to be expected, this chunk included. */
  add(chunk: Buffer, soonBytes: number, chunks: Buffer[], leases: Lease[]): void {
    for (let from = 0; from < chunk.length; ) {
      if (this.#piece === null || this.#usedBytes === this.#piece.memory.length) {
        this.#piece = this.#staging.piece(Math.max(soonBytes, chunk.length) - from)
        if (this.#piece.lease !== null) leases.push(this.#piece.lease)
        this.#usedBytes = 0
        this.#last = null
      }
      const { memory } = this.#piece
      // Not where a chunk that is not copied came after it.
      const grows = this.#last !== null && chunks.at(-1) === this.#last
      if (!grows) this.#lastStart = this.#usedBytes
      const bytes = chunk.copy(memory, this.#usedBytes, from)
      this.#usedBytes += bytes
      from += bytes
      const isAll = this.#lastStart === 0 && this.#usedBytes === memory.length
      this.#last = isAll ? memory : memory.subarray(this.#lastStart, this.#usedBytes)
      if (grows) chunks[chunks.length - 1] = this.#last
      else chunks.push(this.#last)
    }
  }
}
