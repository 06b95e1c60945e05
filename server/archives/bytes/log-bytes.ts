// What one write appends to the log: headers and small bodies side by side in memory of its own, large ones where they lie.
import { type Lease, releaseAll } from '../../lib/blocks.ts'
import { WORTHWHILE_BYTES } from './recent-write.ts'
import type { StagingBlock, StagingMemory } from './staging-memory.ts'

/** Blocks double: what is put side by side may be a few headers between large bodies, or a thousand small bodies. */
const FIRST_BLOCK_BYTES = 4 * 1024
const MAX_BLOCK_BYTES = 64 * 1024
/**
 * Smaller bodies are copied: many small buffers cost more to write, and to hand on, than to copy. It is twice
 * WORTHWHILE_BYTES, because a body that is not copied adds two buffers (header and body), whose average must stay above it.
 */
const COPIED_BODY_BYTES = 2 * WORTHWHILE_BYTES

export class LogBytes implements Lease {
  readonly #staging: StagingMemory
  /** In order; all of it only after `close`. */
  readonly buffers: Uint8Array[] = []
  bytes = 0
  readonly #leases: Lease[] = []
  #reservedBytes = 0
  #block: StagingBlock | null = null
  /** Of the block: what is to become a buffer. */
  #start = 0
  #end = 0

  constructor(staging: StagingMemory) {
    this.#staging = staging
  }

  /** Memory for what comes next, in one piece, to be filled at once. */
  readonly allocate = (bytes: number): Buffer => {
    if (this.#room < bytes) this.#turn(bytes)
    const start = this.#end
    this.#end += bytes
    this.bytes += bytes
    return this.#block!.memory.subarray(start, this.#end)
  }

  /** `over` is called once the memory of these buffers is not needed any more: perhaps at once. */
  append(buffers: readonly Uint8Array[], over: () => void): void {
    let bytes = 0
    for (const { length } of buffers) bytes += length
    this.bytes += bytes
    if (bytes < COPIED_BODY_BYTES) {
      for (const buffer of buffers) this.#copy(buffer)
      return over()
    }
    this.close()
    this.buffers.push(...buffers)
    this.#leases.push({ release: over })
  }

  #copy(buffer: Uint8Array): void {
    for (let from = 0; from < buffer.length; ) {
      if (this.#room === 0) this.#turn(1)
      const bytes = Math.min(this.#room, buffer.length - from)
      const fits = bytes === buffer.length
      this.#block!.memory.set(fits ? buffer : buffer.subarray(from, from + bytes), this.#end)
      this.#end += bytes
      from += bytes
    }
  }

  get #room(): number {
    return this.#block === null ? 0 : this.#block.memory.length - this.#end
  }

  #turn(minBytes: number): void {
    this.close()
    const usualBytes = Math.min(MAX_BLOCK_BYTES, Math.max(FIRST_BLOCK_BYTES, this.#reservedBytes))
    this.#block = this.#staging.allocate(Math.max(usualBytes, minBytes))
    const { memory, lease } = this.#block
    this.#start = this.#end = 0
    this.#staging.reserve(memory.length)
    this.#reservedBytes += memory.length
    if (lease !== null) this.#leases.push(lease)
  }

  /** Ends what was put side by side so far. */
  close(): void {
    if (this.#block === null || this.#start === this.#end) return
    this.buffers.push(this.#block.memory.subarray(this.#start, this.#end))
    this.#start = this.#end
  }

  release(): void {
    this.#staging.release(this.#reservedBytes)
    this.#reservedBytes = 0
    releaseAll(this.#leases.splice(0))
  }
}
