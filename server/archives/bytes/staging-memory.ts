// The memory of a process for bodies on their way to the log: how many bytes of them, and blocks that small ones are copied
// into, first when they are received and then for the write.
import { type Block, createBlockPool, type Lease } from '../../lib/blocks.ts'

/** Large compared with the bodies that share it, so little is wasted at the end of each block. */
const BLOCK_BYTES = 256 * 1024
/**
 * One body that waits keeps the whole block it shares with others. So blocks have a limit of their own, beyond which small
 * bodies are copied into ordinary memory.
 */
const MAX_BLOCK_BYTES = 32 * 1024 * 1024

/** Memory to copy into. It stays until the lease is released; without one, as long as anybody looks at it. */
export interface StagingBlock {
  readonly memory: Buffer
  readonly lease: Lease | null
}

export interface StagingMemory extends Disposable {
  /** Of what was reserved. */
  readonly usedBytes: number
  /** Blocks that somebody needs; when all is quiet, that is at most the one that is being filled. */
  readonly liveBlocks: number
  tryReserve(bytes: number): boolean
  /** Never refuses. For write buffers: they replace bodies that are counted already. */
  reserve(bytes: number): void
  release(bytes: number): void
  /** Reserves nothing: whoever asks has. */
  allocate(bytes: number): StagingBlock
}

export function createStagingMemory(maxBytes: number): StagingMemory {
  const blocks = createBlockPool({ blockBytes: BLOCK_BYTES, maxBytes: MAX_BLOCK_BYTES })
  let usedBytes = 0
  let block: Block | null = null
  let filledBytes = 0

  function turn(): void {
    if (block !== null) blocks.release(block)
    block = blocks.take()
    filledBytes = 0
  }

  return {
    get usedBytes() {
      return usedBytes
    },
    get liveBlocks() {
      return blocks.live
    },
    tryReserve(bytes) {
      if (usedBytes + bytes > maxBytes) return false
      usedBytes += bytes
      return true
    },
    reserve(bytes) {
      usedBytes += bytes
    },
    release(bytes) {
      usedBytes -= bytes
    },
    allocate(bytes) {
      if (bytes > BLOCK_BYTES / 4) return { memory: Buffer.allocUnsafeSlow(bytes), lease: null }
      if (block === null || filledBytes + bytes > BLOCK_BYTES) turn()
      // Not from Node's own pool: one small piece would keep all that it shares it with.
      if (block === null) return { memory: Buffer.allocUnsafeSlow(bytes), lease: null }
      const memory = block.memory.subarray(filledBytes, filledBytes + bytes)
      filledBytes += bytes
      return { memory, lease: blocks.hold(block) }
    },
    [Symbol.dispose]() {
      if (block !== null) blocks.release(block)
      block = null
      blocks[Symbol.dispose]()
    },
  }
}
