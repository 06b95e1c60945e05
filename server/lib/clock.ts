// Time, so that tests can have their own: a wall clock for what is told and stored, a monotonic one for deadlines.

export interface Clock {
  /** Milliseconds since 1970, UTC, whole. Does not jump while the process runs. */
  wallMs(): number
  /** Milliseconds since some start; never jumps. */
  monotonicMs(): number
}

/** The wall clock is read once, at the start: setting the machine's clock must neither expire archives nor keep them. */
export const systemClock: Clock = clockFrom(0)

/**
 * One that does not begin before `earliestMs`: a machine without a clock of its own starts in 1970, and what was written
 * before must not lie in its future.
 */
export function clockFrom(earliestMs: number): Clock {
  const behindMs = Math.max(0, earliestMs - (performance.timeOrigin + performance.now()))
  return {
    wallMs: () => Math.round(performance.timeOrigin + behindMs + performance.now()),
    monotonicMs: () => performance.now(),
  }
}
