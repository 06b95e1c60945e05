// Decides when enough fetches are under way: in a busy process, more of them only delay the others. Starts nothing.
import { type Clock, systemClock } from '../lib/clock.ts'

export interface Throttle {
  /**
   * True if another fetch would only delay the others: the process is busy, and at least four fetches are under way. By
   * the averages of those that have ended, they have 4 MiB together and bring 100 MB a second.
   */
  isEnough(active: number): boolean
  started(): void
  /** A fetch has ended that brought `bytes` in `tookMs`. */
  ended(bytes: number, tookMs: number): void
}

const MIN_FETCHES = 4
/** Fetching small bodies is mostly waiting, so more of them at a time are faster. */
const MIN_BYTES = 4 * 1024 * 1024
/** Bodies from slow origins are also faster if more of them come at a time. */
const MIN_BYTES_PER_MS = 100_000
/** If no fetch has started or ended for this long, those under way are slow, so one more is let in. */
const MAX_MS = 100
/** One very large body says little about the others, so only this much of it counts. */
const MAX_COUNTED_BYTES = 4 * 1024 * 1024

interface Means {
  bytes: number
  ms: number
}

/**
 * If many large bodies come in together from fast origins, all of them are late, and every turn of the event loop is
 * long. If only a few come in at a time, the total time is the same, and each archive has its first body sooner.
 *
 * Each client has its own throttle, which judges by that client's fetches. A new throttle starts with the averages of
 * all clients. Without them, the first bodies of fifty archives would all come in together.
 */
export function createThrottles(
  isBusy: () => boolean,
  clock: Pick<Clock, 'monotonicMs'> = systemClock,
): () => Throttle {
  const ofAll: Means = { bytes: 0, ms: 0 }
  return () => {
    const own: Means = { ...ofAll }
    /** When a fetch last started or ended. */
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
