// Memory in blocks of one size that are counted and used again: memory that is touched for the first time costs more than
// what is done with it. Knows nothing of what lies in them.

export interface Block {
  readonly memory: Buffer
  /** Those who still need it. */
  refs: number
}

/** Memory that is kept for a reader. Whoever takes it over releases it exactly once. */
export interface Lease {
  /** @throws the second time: it would take the memory from somebody else, whose bytes would then be overwritten */
  release(): void
}

export function releaseAll(leases: readonly Lease[]): void {
  for (const lease of leases) lease.release()
}

export interface BlockPoolOptions {
  blockBytes: number
  /** Blocks in use and free ones together. */
  maxBytes: number
  /** Blocks that nobody needed for this long are left to the garbage collector. @default 2000 */
  idleMs?: number
  /** The block is ordinary memory from now on. */
  dropped?: (block: Block) => void
}

export interface BlockPool extends Disposable {
  /** In use; 0 when all is quiet. */
  readonly live: number
  readonly free: number
  /** With one reference, the caller's; null if all are out. */
  take(): Block | null
  /** One more reference. */
  hold(block: Block): Lease
  /** Gives the reference of `take` back. */
  release(block: Block): void
  /** Leaves a block that is in use to the garbage collector, whatever its references do from now on. */
  orphan(block: Block): void
}

export function createBlockPool({ blockBytes, maxBytes, idleMs = 2_000, dropped }: BlockPoolOptions): BlockPool {
  const free: Block[] = []
  let live = 0
  /** Fewest that were free since the last look: so many were not needed. */
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
      // The one released last: of all memory it is the likeliest to be in the processor's own.
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
      return new BlockLease(block, release)
    },
    release,
    orphan(block) {
      // Never 0 again.
      block.refs = Number.POSITIVE_INFINITY
      live--
    },
    [Symbol.dispose]() {
      stopShrinking()
      drop(free.length)
    },
  }
}

/** A class, not an object with a closure: there is one for each small body. */
class BlockLease implements Lease {
  #block: Block | null
  readonly #over: (block: Block) => void

  constructor(block: Block, over: (block: Block) => void) {
    this.#block = block
    this.#over = over
  }

  release(): void {
    const block = this.#block
    if (block === null) throw new Error('a lease was released twice')
    this.#block = null
    this.#over(block)
  }
}
