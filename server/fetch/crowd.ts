// When the fetches under way are enough: those of a busy process are only made later by more of them. Counts; starts nothing.

export interface Crowd {
  /** One more would be one too many. */
  isEnough(active: number): boolean
  /** A fetch has ended that brought so many bytes in so much time. */
  ended(bytes: number, tookMs: number): void
}

/** There are always so many, */
const LEAST_FETCHES = 4
/** bringing so much between them, so that small bodies, which are mostly waited for, come in many at a time, */
const LEAST_BYTES = 4 * 1024 * 1024
/** as quickly as no network does that leaves the process idle: slow origins are no reason to ask fewer of them. */
const LEAST_BYTES_PER_MS = 100_000
/** A body that goes on and on says little of the others. */
const MOST_COUNTED_BYTES = 4 * 1024 * 1024

/**
 * Large bodies that come in together from quick origins are all late, and make every turn of the loop long. A few at a time
 * come in one after the other, in the same time altogether, and each archive has its first the sooner.
 */
export function createCrowd(isBusy: () => boolean): Crowd {
  let meanBytes = 0
  let meanMs = 0
  return {
    isEnough(active) {
      const bytes = active * meanBytes
      return active >= LEAST_FETCHES && bytes >= LEAST_BYTES && bytes >= LEAST_BYTES_PER_MS * meanMs && isBusy()
    },
    ended(bytes, tookMs) {
      const part = Math.min(1, MOST_COUNTED_BYTES / bytes)
      meanBytes += (bytes * part - meanBytes) / 8
      meanMs += (tookMs * part - meanMs) / 8
    },
  }
}
