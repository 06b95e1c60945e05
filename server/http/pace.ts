// Judges how fast a client takes what is ready for it: if that is fast enough, and how much memory it may have. No I/O.

export interface PaceOptions {
  /** 0 allows any rate. */
  minBytesPerSecond: number
  /** The average is taken over this much time of waiting for the client. */
  windowMs: number
}

export interface Pace {
  /** True if the client let the last chunk wait. */
  readonly isSlow: boolean
  /** How much memory may be kept for this client alone. It is little until the client has shown that it takes more. */
  readonly mayHoldBytes: number
  /** How long the client may take for so many bytes. Null: for ever. */
  maxMs(bytes: number): number | null
  /** Call it after the client took `bytes` and let us wait for `waitedMs`. Returns false if it is too slow to go on. */
  took(bytes: number, waitedMs: number): boolean
}

const SLOW_WAIT_MS = 1_000
/** The kernel takes some MiB for any client. A client has shown that it reads only after more than that. */
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
