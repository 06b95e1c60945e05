// A write to the log that is in memory still, for the moment after it: whoever waits at the frontier is given it.
import type { Lease } from '../../lib/blocks.ts'

/** Kept by who made it, and by each that holds it or takes of it, until they release it. */
export interface RecentWrite extends Lease {
  /** What lies from `offset` of the log on, at most so many bytes; null if that is not in the piece. */
  take(offset: number, maxBytes: number): RecentBytes | null
  hold(): Lease
  /** Taken is quicker than read. */
  readonly isWorthwhile: boolean
}

/** The last piece, for one turn of the loop: by then who waits at the frontier has taken it, and all others read the log. */
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

/** In order, without a gap; they stay as they are until they are released. */
export interface RecentBytes extends Lease {
  readonly buffers: readonly Uint8Array[]
  readonly bytes: number
  /** Of the whole piece: all of it is kept until then. */
  readonly heldBytes: number
}

/** Below this average size, one read from the spool is cheaper than many small socket writes. */
export const WORTHWHILE_BYTES = 32 * 1024

/** `buffers` lie from `begin` of the log on. `over` is called once nobody holds them any more. */
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
