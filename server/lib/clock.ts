// Clocks that tests can replace: a wall clock for times that are reported or stored, and a monotonic one for deadlines.

export interface Clock {
  /** Whole milliseconds since 1970 (UTC). Does not jump while the process runs. */
  wallMs(): number
  /** Milliseconds since an arbitrary start. Never jumps. */
  monotonicMs(): number
}

/** Reads the wall clock once, at the start. Setting the machine's clock must neither expire archives nor keep them. */
export const systemClock: Clock = clockFrom(0)

/**
 * A clock that starts no earlier than `earliestMs`. A machine without a hardware clock starts in 1970, and stored times
 * must not lie in the future.
 */
export function clockFrom(earliestMs: number): Clock {
  const behindMs = Math.max(0, earliestMs - (performance.timeOrigin + performance.now()))
  return {
    wallMs: () => Math.round(performance.timeOrigin + behindMs + performance.now()),
    monotonicMs: () => performance.now(),
  }
}
