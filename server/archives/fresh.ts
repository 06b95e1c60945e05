// A piece of the log that is in memory still, for the moment after it was written: whoever waits at the frontier is given it.

export interface Fresh {
  /** What lies from `offset` of the log on, at most so many bytes; null where that is not in the piece. */
  take(offset: number, mostBytes: number): FreshBytes | null
  /** It is kept by who made it, and by each that holds it, until they release it once. */
  hold(): void
  release(): void
  /** Taken is quicker than read. */
  readonly isWorthwhile: boolean
}

/** The last piece, for one turn of the loop: by then who waits at the frontier has taken it, and all others read the log. */
export interface Offer {
  readonly current: Fresh | null
  make(fresh: Fresh): void
}

export function createOffer(): Offer {
  let current: Fresh | null = null
  return {
    get current() {
      return current
    },
    make(fresh) {
      if (!fresh.isWorthwhile) return
      fresh.hold()
      current = fresh
      setImmediate(() => {
        if (current === fresh) current = null
        fresh.release()
      })
    },
  }
}

/** In order, without a gap; they stay as they are until `release`, which is to be called once. */
export interface FreshBytes {
  readonly buffers: readonly Uint8Array[]
  readonly bytes: number
  /** Of the whole piece: all of it is kept until then. */
  readonly heldBytes: number
  release(): void
}

/** Where they are smaller in the mean, it costs less to read them back together than to write each out by itself. */
const WORTHWHILE_BYTES = 32 * 1024

/** `buffers` lie from `begin` of the log on. `over` is called once nobody holds them any more. */
export function createFresh(begin: number, buffers: readonly Uint8Array[], over: () => void): Fresh {
  const heldBytes = buffers.reduce((sum, { length }) => sum + length, 0)
  let holds = 1
  const release = () => {
    if (--holds === 0) over()
  }
  return {
    isWorthwhile: buffers.length > 0 && heldBytes / buffers.length >= WORTHWHILE_BYTES,
    hold() {
      holds++
    },
    release,
    take(offset, mostBytes) {
      if (offset < begin) return null
      const taken: Uint8Array[] = []
      let skipped = offset - begin
      let left = mostBytes
      for (const buffer of buffers) {
        if (left === 0) break
        const piece = buffer.subarray(Math.min(skipped, buffer.length), skipped + left)
        skipped = Math.max(0, skipped - buffer.length)
        if (piece.length === 0) continue
        taken.push(piece)
        left -= piece.length
      }
      if (taken.length === 0) return null
      holds++
      return { buffers: taken, bytes: mostBytes - left, heldBytes, release }
    },
  }
}
