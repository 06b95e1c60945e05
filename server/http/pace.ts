// How fast a client takes what is ready for it: whether that is fast enough, and how much to hold ready for it. No I/O.

export interface PaceOptions {
  /** 0: any rate will do. */
  minBytesPerSecond: number
  /** The average is taken over this much time of waiting for the client. */
  windowMs: number
}

export interface Pace {
  /** What is to be held ready at a time: little, until the client has shown that it takes more. */
  readonly chunkBytes: number
  /** The client took so many bytes, and for so long only it was waited for. False where it is too slow to go on. */
  took(bytes: number, waitedMs: number): boolean
}

export const SLOW_CHUNK_BYTES = 64 * 1024
export const QUICK_CHUNK_BYTES = 256 * 1024
/** The kernel takes some MiB by itself, whatever the client does: only after more than that it has shown something. */
const PROOF_BYTES = 8 * 1024 * 1024
/** A client that lets one chunk wait this long is a slow one again. */
const SLOW_WAIT_MS = 1_000

export function createPace({ minBytesPerSecond, windowMs }: PaceOptions): Pace {
  let quickBytes = 0
  let windowBytes = 0
  let waitedInWindowMs = 0
  return {
    get chunkBytes() {
      return quickBytes >= PROOF_BYTES ? QUICK_CHUNK_BYTES : SLOW_CHUNK_BYTES
    },
    took(bytes, waitedMs) {
      quickBytes = waitedMs >= SLOW_WAIT_MS ? 0 : quickBytes + bytes
      windowBytes += bytes
      waitedInWindowMs += waitedMs
      if (waitedInWindowMs < windowMs) return true
      const bytesPerSecond = (windowBytes / waitedInWindowMs) * 1_000
      windowBytes = 0
      waitedInWindowMs = 0
      return bytesPerSecond >= minBytesPerSecond
    },
  }
}
