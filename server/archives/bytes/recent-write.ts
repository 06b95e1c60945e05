// Keeps the last write to the log in memory for a moment, so that readers who wait at the frontier need not read the spool.
// Without it W1 takes 1.3 times the CPU time and 1.2 times as long (`npm run bench -- W1 W5 --rounds 7`); W5 takes 1.1 and 1.3.
import type { Lease } from '../../lib/blocks.ts'

/** Its memory is kept until its maker and everybody who holds or took some of it have released it. */
export interface RecentWrite extends Lease {
  /** Returns the bytes from `offset` of the log on, at most `maxBytes`. Null if the write does not hold that offset. */
  take(offset: number, maxBytes: number): RecentBytes | null
  hold(): Lease
  /** Whether sending its buffers is quicker than a read from the spool. */
  readonly isWorthwhile: boolean
}

/** Offers the last write for one turn of the loop. By then the readers at the frontier have taken it; others read the log. */
export interface RecentWrites {
  readonly current: RecentWrite | null
  offer(write: RecentWrite): void
}

export function createRecentWrites(): RecentWrites {
  let current: RecentWrite | null = null
  return {
    get current() {
      return current
    },
    offer(write) {
      if (!write.isWorthwhile) return
      const lease = write.hold()
      current = write
      setImmediate(() => {
        if (current === write) current = null
        lease.release()
      })
    },
  }
}

/** Buffers in order and without a gap. They do not change until they are released. */
export interface RecentBytes extends Lease {
  readonly buffers: readonly Uint8Array[]
  readonly bytes: number
  /** Size of the whole write, because all of it stays in memory until the release. */
  readonly heldBytes: number
}

/** Below this average size, one read from the spool is cheaper than many small socket writes. */
export const WORTHWHILE_BYTES = 32 * 1024

/**
 * @param begin where the buffers lie in the log
 * @param over called once nobody holds the buffers any more
 */
export function createRecentWrite(begin: number, buffers: readonly Uint8Array[], over: () => void): RecentWrite {
  const heldBytes = buffers.reduce((sum, { length }) => sum + length, 0)
  let holds = 0
  function hold(): Lease {
    holds++
    let isHeld = true
    return {
      release() {
        if (!isHeld) throw new Error('a lease was released twice')
        isHeld = false
        if (--holds === 0) over()
      },
    }
  }
  return {
    ...hold(),
    hold,
    isWorthwhile: buffers.length > 0 && heldBytes / buffers.length >= WORTHWHILE_BYTES,
    take(offset, maxBytes) {
      if (offset < begin) return null
      const taken: Uint8Array[] = []
      let skipped = offset - begin
      let left = maxBytes
      for (const buffer of buffers) {
        if (left === 0) break
        const slice = buffer.subarray(Math.min(skipped, buffer.length), skipped + left)
        skipped = Math.max(0, skipped - buffer.length)
        if (slice.length === 0) continue
        taken.push(slice)
        left -= slice.length
      }
      if (taken.length === 0) return null
      return { buffers: taken, bytes: maxBytes - left, heldBytes, ...hold() }
    },
  }
}
