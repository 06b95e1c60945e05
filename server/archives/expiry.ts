// When archives expire, also on a machine whose clock was wrong when the server started.
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'

const HOUR_MS = 3_600_000
/** A journal that nothing was written to for longer than this is rare; a clock that has lost its battery or was mistyped is not. */
const SUSPICIOUS_MS = 30 * 24 * HOUR_MS
/** So long somebody has to see what the log says, and to start again with the right time. */
const HELD_MS = 24 * HOUR_MS

/** What expires at or before this moment has expired; ms since 1970. */
export type Expiry = () => number

/**
 * `newestMs` is the latest time that the journal tells of; null if it tells of none. A clock far ahead of it may be right
 * after a long rest or wrong: so nothing expires by that leap alone until the server has run for a day.
 */
export function createExpiry(clock: Clock, newestMs: number | null, log: Log): Expiry {
  const leapMs = newestMs === null ? 0 : clock.wallMs() - newestMs
  if (leapMs <= SUSPICIOUS_MS) return () => clock.wallMs()
  const days = Math.round(leapMs / (24 * HOUR_MS))
  log.error('the clock is far ahead of the journal: is it right? nothing expires by that for a day', { days })
  const startedMs = clock.monotonicMs()
  return () => clock.wallMs() - (clock.monotonicMs() - startedMs < HELD_MS ? leapMs : 0)
}
