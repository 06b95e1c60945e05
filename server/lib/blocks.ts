// A pool of memory blocks of one size. They are reused, because the first touch of new memory costs more than the work
// done on it. Does not know what the blocks hold.

export interface Block {
  readonly memory: Buffer
  /** The number of holders that still need it. */
  refs: number
}

/** Keeps memory for a reader. Its last owner must release it exactly once. */
export interface Lease {
  /** @throws if called twice: the memory may have another holder by then, whose bytes would be overwritten */
  release(): void
}

export function releaseAll(leases: readonly Lease[]): void {
  for (const lease of leases) lease.release()
}

export interface BlockPoolOptions {
  blockBytes: number
  /** The limit for all blocks, in use or free. */
  maxBytes: number
  /** Blocks that were not needed for this long are left to the garbage collector. @default 2000 */
  idleMs?: number
  /** Called when a free block leaves the pool and becomes ordinary memory. */
  dropped?: (block: Block) => void
}

export interface BlockPool extends Disposable {
  /** The number of blocks in use; 0 if nothing is under way. */
  readonly live: number
  readonly free: number
  /** Takes a block with one reference, which is the caller's. Null if all blocks are in use. */
  take(): Block | null
  /** Adds a reference. */
  hold(block: Block): Lease
  /** Gives back the reference of `take`. */
  release(block: Block): void
  /** Leaves a block that is in use to the garbage collector. Releasing its references has no effect after that. */
  orphan(block: Block): void
}

export function createBlockPool({ blockBytes, maxBytes, idleMs = 2_000, dropped }: BlockPoolOptions): BlockPool {
  const free: Block[] = []
  let live = 0
  /** The lowest number of free blocks since the last `shrink`: that many were not needed. */
  let minFree = 0
  let shrinking: NodeJS.Timeout | null = null

  function shrink(): void {
    drop(minFree)
    minFree = free.length
    if (free.length > 0) return
    stopShrinking()
  }

  function drop(count: number): void {
    for (const block of free.splice(0, count)) dropped?.(block)
  }

  function stopShrinking(): void {
    if (shrinking !== null) clearInterval(shrinking)
    shrinking = null
  }

  function release(block: Block): void {
    if (--block.refs > 0) return
    live--
    free.push(block)
    shrinking ??= setInterval(shrink, idleMs).unref()
  }

  return {
    get live() {
      return live
    },
    get free() {
      return free.length
    },
    take() {
      // The block that was released last is the most likely to be in the processor's cache.
      let block = free.pop()
      minFree = Math.min(minFree, free.length)
      if (block === undefined) {
        if ((live + 1) * blockBytes > maxBytes) return null
        block = { memory: Buffer.allocUnsafeSlow(blockBytes), refs: 0 }
      }
      block.refs = 1
      live++
      return block
    },
    hold(block) {
      block.refs++
      let isHeld = true
      return {
        release() {
          if (!isHeld) throw new Error('a lease was released twice')
          isHeld = false
          release(block)
        },
      }
    },
    release,
    orphan(block) {
      // The count can never reach 0 again, so the block never returns to the pool.
      block.refs = Number.POSITIVE_INFINITY
      live--
    },
    [Symbol.dispose]() {
      stopShrinking()
      drop(free.length)
    },
  }
}
