// Decides which time counts for expiry, so that a wrong clock at the start of the server does not expire everything.
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'

const HOUR_MS = 3_600_000
/** A journal is rarely unused for longer than this. A clock without a battery, or set by hand, is often wrong by more. */
const SUSPICIOUS_MS = 30 * 24 * HOUR_MS
/** How long an operator has to read the log, set the clock and restart the server. */
const HELD_MS = 24 * HOUR_MS

/** The time that counts for expiry, in ms since 1970: an archive has expired if its time is not later. */
export type Expiry = () => number

/**
 * `newestMs` is the latest time that the journal holds, or null if it holds none. If the clock is far ahead of it, the server
 * may have been off for long, or the clock may be wrong. So the leap alone expires nothing until the server has run a day.
 */
export function createExpiry(clock: Clock, newestMs: number | null, log: Log): Expiry {
  const leapMs = newestMs === null ? 0 : clock.wallMs() - newestMs
  if (leapMs <= SUSPICIOUS_MS) return () => clock.wallMs()
  const days = Math.round(leapMs / (24 * HOUR_MS))
  log.error('the clock is far ahead of the journal and may be wrong; this leap expires nothing for a day', { days })
  const startedMs = clock.monotonicMs()
  return () => clock.wallMs() - (clock.monotonicMs() - startedMs < HELD_MS ? leapMs : 0)
}
