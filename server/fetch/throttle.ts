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

interface Means {
  bytes: number
  ms: number
}

/**
 * Large bodies that come in together from quick origins are all late, and make every turn of the loop long. A few at a time
 * come in one after the other, in the same time altogether, and each archive has its first the sooner.
 *
 * Makes one for each client, which judges by what its own fetches bring. A new one begins with what all of them brought:
 * with nothing to go by, the first bodies of fifty archives would all come in together.
 */
export function createThrottles(
  isBusy: () => boolean,
  clock: Pick<Clock, 'monotonicMs'> = systemClock,
): () => Throttle {
  const ofAll: Means = { bytes: 0, ms: 0 }
  return () => {
    const own: Means = { ...ofAll }
    /** When one started or ended. */
    let movedMs = 0
    return {
      isEnough(active) {
        const bytes = active * own.bytes
        if (active < MIN_FETCHES || bytes < MIN_BYTES || bytes < MIN_BYTES_PER_MS * own.ms) return false
        return clock.monotonicMs() - movedMs < MAX_MS && isBusy()
      },
      started() {
        movedMs = clock.monotonicMs()
      },
      ended(bytes, tookMs) {
        learn(own, bytes, tookMs)
        learn(ofAll, bytes, tookMs)
        movedMs = clock.monotonicMs()
      },
    }
  }
}

function learn(means: Means, bytes: number, tookMs: number): void {
  const part = Math.min(1, MAX_COUNTED_BYTES / bytes)
  means.bytes += (bytes * part - means.bytes) / 8
  means.ms += (tookMs * part - means.ms) / 8
}
