// When the fetches under way are enough: those of a busy process are only made later by more of them. Counts; starts nothing.
import { type Clock, systemClock } from '../lib/clock.ts'

export interface Throttle {
  /**
   * One more would be one too many: the process is busy, and those under way are at least four, of 4 MiB between them, that
   * bring 100 MB a second, judged by what has ended.
   */
  isEnough(active: number): boolean
  started(): void
  /** A fetch has ended that brought so many bytes in so much time. */
  ended(bytes: number, tookMs: number): void
}

const MIN_FETCHES = 4
/** Small bodies are mostly waited for: more of them at a time are quicker. */
const MIN_BYTES = 4 * 1024 * 1024
/** From slow origins, too, more bodies at a time are quicker. */
const MIN_BYTES_PER_MS = 100_000
/** Where none has ended for so long, those under way are slow ones, whatever the last were: one more is let in. */
const MAX_MS = 100
/** A body that goes on and on says little of the others. */
const MAX_COUNTED_BYTES = 4 * 1024 * 1024

/**
 * Large bodies that come in together from quick origins are all late, and make every turn of the loop long. A few at a time
 * come in one after the other, in the same time altogether, and each archive has its first the sooner.
 */
export function createThrottle(isBusy: () => boolean, clock: Pick<Clock, 'monotonicMs'> = systemClock): Throttle {
  let meanBytes = 0
  let meanMs = 0
  /** When one started or ended. */
  let movedMs = 0
  return {
    isEnough(active) {
      const bytes = active * meanBytes
      if (active < MIN_FETCHES || bytes < MIN_BYTES || bytes < MIN_BYTES_PER_MS * meanMs) return false
      return clock.monotonicMs() - movedMs < MAX_MS && isBusy()
    },
    started() {
      movedMs = clock.monotonicMs()
    },
    ended(bytes, tookMs) {
      const part = Math.min(1, MAX_COUNTED_BYTES / bytes)
      meanBytes += (bytes * part - meanBytes) / 8
      meanMs += (tookMs * part - meanMs) / 8
      movedMs = clock.monotonicMs()
    },
  }
}
