// Gathers the buffers of one write to the log. Headers and small bodies are copied into blocks, large bodies are not copied.
// Without the copies W2 takes 1.1 times the CPU time (`npm run bench -- W2 --rounds 7`), because downloads then read the spool.
import { type Lease, releaseAll } from '../../lib/blocks.ts'
import { WORTHWHILE_BYTES } from './recent-write.ts'
import type { StagingBlock, StagingMemory } from './staging-memory.ts'

/** Blocks double in size, because a write may hold a few headers between large bodies or a thousand small bodies. */
const FIRST_BLOCK_BYTES = 4 * 1024
const MAX_BLOCK_BYTES = 64 * 1024
/**
 * Smaller bodies are copied, because writing and sending many small buffers costs more than copying them. The limit is twice
 * WORTHWHILE_BYTES: a body that is not copied adds two buffers, header and body, and their average must stay above it.
 */
const COPIED_BODY_BYTES = 2 * WORTHWHILE_BYTES

export class LogBytes implements Lease {
  readonly #staging: StagingMemory
  /** The buffers in order. They are complete only after `close`. */
  readonly buffers: Uint8Array[] = []
  bytes = 0
  readonly #leases: Lease[] = []
  #reservedBytes = 0
  #block: StagingBlock | null = null
  /** The range of the block that becomes the next buffer. */
  #start = 0
  #end = 0

  constructor(staging: StagingMemory) {
    this.#staging = staging
  }

  /** Returns memory for the next bytes, in one piece. The caller fills it before it does anything else. */
  readonly allocate = (bytes: number): Buffer => {
    if (this.#room < bytes) this.#turn(bytes)
    const start = this.#end
    this.#end += bytes
    this.bytes += bytes
    return this.#block!.memory.subarray(start, this.#end)
  }

  /** Calls `over` once the memory of these buffers is not needed any more. That is at once if they are copied. */
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

  /** Makes one buffer of what was copied since the last one. */
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
