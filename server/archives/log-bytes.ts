// What one write appends to the log: headers and small bodies side by side in memory of its own, large ones where they lie.
import type { Lease } from '../lib/blocks.ts'
import type { Piece, StagingMemory } from './staging-memory.ts'

/** Pieces double: what is put side by side may be a few headers between large bodies, or a thousand small bodies. */
const FIRST_PIECE_BYTES = 4 * 1024
const MAX_PIECE_BYTES = 64 * 1024

export class LogBytes implements Lease {
  readonly #staging: StagingMemory
  /** In order; all of it only after `close`. */
  readonly buffers: Uint8Array[] = []
  bytes = 0
  readonly #leases: Lease[] = []
  #reservedBytes = 0
  #piece: Piece | null = null
  /** Of the piece: what is to become a buffer. */
  #start = 0
  #end = 0

  constructor(staging: StagingMemory) {
    this.#staging = staging
  }

  /** What comes next in the log, to be filled at once. */
  readonly allocate = (bytes: number): Buffer => {
    const start = this.#take(bytes)
    return this.#piece!.memory.subarray(start, this.#end)
  }

  /** The memory of `buffer` is not needed any more. */
  copy(buffer: Uint8Array): void {
    const start = this.#take(buffer.length)
    this.#piece!.memory.set(buffer, start)
  }

  #take(bytes: number): number {
    if (this.#piece === null || this.#end + bytes > this.#piece.memory.length) this.#turn(bytes)
    const start = this.#end
    this.#end += bytes
    this.bytes += bytes
    return start
  }

  /** Takes the lease over: it keeps the buffers until this is released. */
  refer(buffers: readonly Uint8Array[], lease: Lease): void {
    this.close()
    for (const buffer of buffers) {
      this.buffers.push(buffer)
      this.bytes += buffer.length
    }
    this.#leases.push(lease)
  }

  #turn(leastBytes: number): void {
    this.close()
    const usualBytes = Math.min(MAX_PIECE_BYTES, Math.max(FIRST_PIECE_BYTES, this.#reservedBytes))
    this.#piece = this.#staging.piece(Math.max(usualBytes, leastBytes))
    this.#start = this.#end = 0
    const { length } = this.#piece.memory
    this.#staging.reserve(length)
    this.#reservedBytes += length
    if (this.#piece.lease !== null) this.#leases.push(this.#piece.lease)
  }

  /** Ends what was put side by side so far. */
  close(): void {
    if (this.#piece === null || this.#start === this.#end) return
    this.buffers.push(this.#piece.memory.subarray(this.#start, this.#end))
    this.#start = this.#end
  }

  release(): void {
    for (const lease of this.#leases) lease.release()
    this.#staging.release(this.#reservedBytes)
    this.#reservedBytes = 0
  }
}
