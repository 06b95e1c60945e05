// How fast a client takes what is ready for it: whether that is fast enough, and how much memory to keep for it. No I/O.

export interface PaceOptions {
  /** 0: any rate will do. */
  minBytesPerSecond: number
  /** The average is taken over this much time of waiting for the client. */
  windowMs: number
}

export interface Pace {
  /** It let the last chunk wait. */
  readonly isSlow: boolean
  /** So much memory may be kept for it alone: little, until it has shown that it takes more. */
  readonly mayHoldBytes: number
  /** How long so many bytes may take; null: for ever. */
  maxMs(bytes: number): number | null
  /** The client took so many bytes, and for so long only it was waited for. False if it is too slow to go on. */
  took(bytes: number, waitedMs: number): boolean
}

const SLOW_WAIT_MS = 1_000
/** The kernel takes some MiB by itself, whatever the client does: only after more than that it has shown something. */
const PROOF_BYTES = 8 * 1024 * 1024
const UNPROVEN_BYTES = 3 * 1024 * 1024
/** The longest delay that setTimeout accepts. */
const MAX_MS = 2 ** 31 - 1

export function createPace({ minBytesPerSecond, windowMs }: PaceOptions): Pace {
  let isSlow = false
  let quickBytes = 0
  let windowBytes = 0
  let waitedInWindowMs = 0
  return {
    get isSlow() {
      return isSlow
    },
    get mayHoldBytes() {
      if (isSlow) return 0
      return quickBytes >= PROOF_BYTES ? Number.POSITIVE_INFINITY : UNPROVEN_BYTES
    },
    maxMs(bytes) {
      if (minBytesPerSecond === 0) return null
      return Math.min(MAX_MS, Math.max(windowMs, (bytes / minBytesPerSecond) * 1_000))
    },
    took(bytes, waitedMs) {
      isSlow = waitedMs >= SLOW_WAIT_MS
      quickBytes = isSlow ? 0 : quickBytes + bytes
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
