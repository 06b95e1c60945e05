// Whether the loop has time left. Node counts how long it waits for something to do.
import { performance } from 'node:perf_hooks'

/** A look back is at least so long, */
const MIN_MS = 20
/** and says nothing of now where it is longer. */
const MAX_MS = 200
const BUSY = 0.7

/** Says if the loop was busy a moment ago; also where that is not known yet, which it is some milliseconds later. */
export function createBusyMeter(): () => boolean {
  let before = performance.eventLoopUtilization()
  let lookedMs = performance.now()
  let isBusy = true
  return () => {
    const nowMs = performance.now()
    const spanMs = nowMs - lookedMs
    if (spanMs < MIN_MS) return isBusy
    const now = performance.eventLoopUtilization()
    isBusy = spanMs > MAX_MS || performance.eventLoopUtilization(now, before).utilization > BUSY
    before = now
    lookedMs = nowMs
    return isBusy
  }
}
