// Whether the loop has time left. Node counts how long it waits for something to do.
import { performance } from 'node:perf_hooks'
import { type Clock, systemClock } from './clock.ts'

/** Shorter measurements are noise. */
const MIN_MS = 20
/** Longer measurements say nothing about now: the loop counts as busy. */
const MAX_MS = 200
const BUSY = 0.7

/** Says if the loop was busy a moment ago; also if that is not known yet, which it is some milliseconds later. */
export function createBusyMeter(clock: Pick<Clock, 'monotonicMs'> = systemClock): () => boolean {
  let before = performance.eventLoopUtilization()
  let lookedMs = clock.monotonicMs()
  let isBusy = true
  return () => {
    const nowMs = clock.monotonicMs()
    const spanMs = nowMs - lookedMs
    if (spanMs < MIN_MS) return isBusy
    const now = performance.eventLoopUtilization()
    isBusy = spanMs > MAX_MS || performance.eventLoopUtilization(now, before).utilization > BUSY
    before = now
    lookedMs = nowMs
    return isBusy
  }
}
