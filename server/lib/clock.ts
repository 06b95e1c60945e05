// Time, so that tests can have their own: the wall clock for what is told and stored, a monotonic one for deadlines.

export interface Clock {
  /** Milliseconds since 1970, UTC; may jump. */
  wallMs(): number
  /** Milliseconds since some start; never jumps. */
  monotonicMs(): number
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}
