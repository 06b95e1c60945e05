// What the fetch budget keeps account of: clients, their lanes, and the fetches of each lane at each origin. Decides nothing.
import type { OriginPace } from './origins/pace.ts'
import type { Throttle } from './throttle.ts'

export interface PendingFetch {
  /** The fetches of a lane start in this order, as far as their origins have room. */
  readonly order: number
  readonly origin: string
  /** Starts the fetch. It must call `release` once, which gives its place back, and report to `pace` what its origin answers. */
  start(release: Release, pace: OriginPace): void
}

/** `receivedBytes` is null if no body was asked for; the throttle's averages leave such a fetch out. */
export type Release = (receivedBytes: number | null) => void

export interface Client {
  readonly name: string
  readonly throttle: Throttle
  active: number
  /** How many of the active fetches count towards its share. */
  shared: number
  /** Its lanes, in the order of their next turn. */
  readonly lanes: Set<LaneState>
  readonly origins: Map<string, Use>
}

export interface LaneState {
  readonly client: Client
  readonly mayStart: () => boolean
  readonly maxPerOrigin: number
  /** Its fetches that are under way. */
  active: number
  waiting: number
  /** Queues by origin. A queue exists while the lane has a fetch waiting or under way at that origin. */
  readonly queues: Map<string, Queue>
}

/** The fetches of a lane at one origin. */
export interface Queue {
  readonly origin: string
  readonly lane: LaneState
  /** Fetches that wait, sorted by `order`. */
  readonly pending: PendingFetch[]
  active: number
  readonly ofClient: Use
  readonly ofAll: Use
  readonly pace: OriginPace
}

/** Counts what several queues of one origin have under way together. */
export interface Use {
  active: number
  queues: number
}

/** Counts one more queue at this origin. */
export function useOf(uses: Map<string, Use>, origin: string): Use {
  let use = uses.get(origin)
  if (use === undefined) {
    use = { active: 0, queues: 0 }
    uses.set(origin, use)
  }
  use.queues++
  return use
}
