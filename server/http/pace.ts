// How fast a client takes what is ready for it: whether that is fast enough, and who is a slow one. No I/O.

export interface PaceOptions {
  /** 0: any rate will do. */
  minBytesPerSecond: number
  /** The average is taken over this much time of waiting for the client. */
  windowMs: number
}

export interface Pace {
  /** It let the last chunk wait. */
  readonly isSlow: boolean
  /** How long so many bytes may take; null: for ever. */
  mostMs(bytes: number): number | null
  /** The client took so many bytes, and for so long only it was waited for. False where it is too slow to go on. */
  took(bytes: number, waitedMs: number): boolean
}

const SLOW_WAIT_MS = 1_000

export function createPace({ minBytesPerSecond, windowMs }: PaceOptions): Pace {
  let isSlow = false
  let windowBytes = 0
  let waitedInWindowMs = 0
  return {
    get isSlow() {
      return isSlow
    },
    mostMs: (bytes) => (minBytesPerSecond === 0 ? null : Math.max(windowMs, (bytes / minBytesPerSecond) * 1_000)),
    took(bytes, waitedMs) {
      isSlow = waitedMs >= SLOW_WAIT_MS
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
