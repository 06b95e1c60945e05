// Measures whether the event loop is busy, from the time that Node reports it idle.
import { performance } from 'node:perf_hooks'
import { type Clock, systemClock } from './clock.ts'

/** A measurement over less time is noise. */
const MIN_MS = 20
/** A measurement over more time says nothing about now, so the loop then counts as busy. */
const MAX_MS = 200
const BUSY = 0.7

/** Reports whether the loop was busy a moment ago. True also while that is not known, which lasts some milliseconds. */
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
