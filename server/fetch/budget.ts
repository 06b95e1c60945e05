// Decides which fetch may start next. Clients and their archives have shares, in all and at each origin. Knows no HTTP.
import { leavesRoom } from '../lib/quota.ts'
import {
  type Client,
  type LaneState,
  type PendingFetch,
  type Queue,
  type Release,
  type Use,
  useOf,
} from './budget-queues.ts'
import { createOrigins, type Origins } from './origins/origins.ts'
import type { Throttle } from './throttle.ts'

export type { PendingFetch, Release } from './budget-queues.ts'

export interface Lane {
  add(fetch: PendingFetch): void
  /** Must be called when `mayStart` may have become true. */
  kick(): void
  /** Fetches that wait because their origin has asked for a pause. */
  readonly heldBack: HeldBack[]
  /** How many these are. */
  readonly heldBackCount: number
  /** Drops the fetches that have not started. */
  close(): void
}

export interface HeldBack {
  readonly origin: string
  /** Milliseconds from now on. */
  readonly untilMs: number
  readonly entries: number
}

export interface LaneOptions {
  /** Says if the lane's owner has room for one more. */
  mayStart(): boolean
  /** Lanes of one client share what that may have. @default '' for what nobody asked for by name */
  client?: string | undefined
  /** At each origin, at most so many at a time. @default as the budget has it */
  maxPerOrigin?: number | undefined
}

export interface FetchBudget {
  readonly active: number
  openLane(options: LaneOptions): Lane
}

export interface FetchBudgetOptions {
  /** Fetches that a lane may have while it is alone. `sharesOf` adds the reserve for others. */
  maxFetches: number
  /** The same, at each origin. */
  maxFetchesPerOrigin: number
  /** The limit for all fetches together, `SURE_FETCHES` included. @default no limit */
  maxInAll?: number
  /** What is known of origins. @default nothing yet */
  origins?: Origins
  /** Each client has a throttle of its own, so that the fetches of one client do not hold up another client. */
  createThrottle(): Throttle
}

/**
 * Each lane may have these regardless of what others hold, as far as its origins have room. They are not part of the
 * shares.
 */
export const SURE_FETCHES = 4

/**
 * All lanes of a client may have one and a half times as much as a lane alone. All clients may have one and a half
 * times as much as one client. By `leavesRoom`, a lane and a client each get at most two thirds of what the others
 * leave, so a lane that is alone gets exactly `alone`.
 */
export function sharesOf(alone: number): { client: number; inAll: number } {
  const client = Math.ceil((3 * alone) / 2)
  return { client, inAll: Math.ceil((3 * client) / 2) }
}

const LOOK_AGAIN_MS = 20
/** setTimeout takes no more. */
const MAX_DELAY_MS = 2 ** 31 - 1

export function createFetchBudget(options: FetchBudgetOptions): FetchBudget {
  return new SharedBudget(options)
}

/** Starts fetches in a later turn of the loop, as many as there is room for by then. */
class SharedBudget implements FetchBudget {
  readonly #sure: number
  readonly #maxInAll: number
  readonly #maxOfClient: number
  readonly #maxOfAll: number
  readonly #atOrigin: ReturnType<typeof sharesOf>
  readonly #createThrottle: () => Throttle
  readonly #pacedOrigins: Origins
  /** Clients by name, in the order of their next turn. */
  readonly #clients = new Map<string, Client>()
  readonly #origins = new Map<string, Use>()
  #active = 0
  #shared = 0
  #scheduled = false
  #lookingAgain: NodeJS.Timeout | null = null
  #lookingAgainMs = Number.POSITIVE_INFINITY
  /** When the last gate opens that was met: until then, some origins may be waited for. */
  #lastGateMs = Number.NEGATIVE_INFINITY

  constructor({
    maxFetches,
    maxFetchesPerOrigin,
    maxInAll = Number.POSITIVE_INFINITY,
    createThrottle,
    origins = createOrigins(),
  }: FetchBudgetOptions) {
    const { client, inAll } = sharesOf(maxFetches)
    this.#sure = Math.min(SURE_FETCHES, maxFetches)
    this.#maxInAll = maxInAll
    this.#maxOfClient = Math.min(client, maxInAll)
    this.#maxOfAll = Math.min(inAll, maxInAll)
    this.#atOrigin = sharesOf(maxFetchesPerOrigin)
    this.#createThrottle = createThrottle
    this.#pacedOrigins = origins
  }

  get active(): number {
    return this.#active
  }

  openLane({ mayStart, client: clientName = '', maxPerOrigin = Number.POSITIVE_INFINITY }: LaneOptions): Lane {
    const client = this.#clientOf(clientName)
    const lane: LaneState = { client, mayStart, maxPerOrigin, active: 0, waiting: 0, queues: new Map() }
    client.lanes.add(lane)
    const heldBack = () => this.#heldBack(lane)
    return {
      get heldBack() {
        return heldBack().toArray()
      },
      get heldBackCount() {
        return heldBack().reduce((count, { entries }) => count + entries, 0)
      },
      add: (fetch) => this.#add(lane, fetch),
      kick: () => this.#schedule(),
      close: () => this.#close(lane),
    }
  }

  #add(lane: LaneState, fetch: PendingFetch): void {
    if (!lane.client.lanes.has(lane)) return
    const { pending } = lane.queues.get(fetch.origin) ?? this.#openQueue(lane, fetch.origin)
    if (pending.length === 0 || pending.at(-1)!.order < fetch.order) pending.push(fetch)
    else pending.splice(pending.findLastIndex(({ order }) => order < fetch.order) + 1, 0, fetch)
    lane.waiting++
    this.#schedule()
  }

  #close(lane: LaneState): void {
    lane.client.lanes.delete(lane)
    lane.waiting = 0
    for (const queue of [...lane.queues.values()]) {
      queue.pending.length = 0
      this.#leaveIfEmpty(queue)
    }
    this.#forgetIfGone(lane.client)
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#startAll()
    })
  }

  #startAll(): void {
    while (this.#active < this.#maxInAll) {
      const next = this.#nextOfAll()
      if (next === null) return
      this.#start(next)
    }
  }

  /** The throttle is for several archives. A single archive comes sooner, the more of its fetches are under way. */
  #areSeveralWaiting({ lanes }: Client): boolean {
    let count = 0
    for (const { waiting } of lanes) if (waiting > 0 && ++count > 1) return true
    return false
  }

  /** Checks again at this time, because something may be able to start then without any fetch ending. */
  #lookAgain(atMs: number): void {
    if (atMs >= this.#lookingAgainMs) return
    if (this.#lookingAgain !== null) clearTimeout(this.#lookingAgain)
    this.#lookingAgainMs = atMs
    const delayMs = Math.min(MAX_DELAY_MS, Math.max(1, Math.ceil(atMs - performance.now())))
    this.#lookingAgain = setTimeout(() => {
      this.#lookingAgain = null
      this.#lookingAgainMs = Number.POSITIVE_INFINITY
      this.#schedule()
    }, delayMs).unref()
  }

  *#heldBack({ queues }: LaneState): Generator<HeldBack, void> {
    const nowMs = performance.now()
    if (nowMs >= this.#lastGateMs) return
    for (const { origin, pace, pending } of queues.values()) {
      const untilMs = Math.ceil(pace.gateMs - nowMs)
      if (untilMs > 0 && pending.length > 0) yield { origin, untilMs, entries: pending.length }
    }
  }

  /** Clients take turns. A client with nothing under way, such as a new one, goes before all others. */
  #nextOfAll(): Queue | null {
    let next: Queue | null = null
    for (const client of this.#clients.values()) {
      if (next !== null && client.active > 0) continue
      const queue = this.#nextOfClient(client)
      if (queue !== null && client.active === 0) return queue
      next = queue ?? next
    }
    return next
  }

  /** The lanes of a client take turns in the same way. */
  #nextOfClient(client: Client): Queue | null {
    if (client.throttle.isEnough(client.active) && this.#areSeveralWaiting(client)) {
      // The process may get time to spare, or the fetches under way may turn out slow.
      this.#lookAgain(performance.now() + LOOK_AGAIN_MS)
      return null
    }
    let next: Queue | null = null
    for (const lane of client.lanes) {
      if (next !== null && lane.active > 0) continue
      const queue = lane.waiting > 0 && this.#hasRoom(lane) && lane.mayStart() ? this.#nextOfLane(lane) : null
      if (queue !== null && lane.active === 0) return queue
      next = queue ?? next
    }
    return next
  }

  #hasRoom(lane: LaneState): boolean {
    return lane.active < this.#sure || this.#isWithinShare(lane)
  }

  #isWithinShare({ active: own, client }: LaneState): boolean {
    return leavesRoom(own, client.shared, this.#maxOfClient) && leavesRoom(client.shared, this.#shared, this.#maxOfAll)
  }

  /** The queue with the earliest fetch whose origin has room. */
  #nextOfLane({ queues }: LaneState): Queue | null {
    let next: Queue | null = null
    for (const queue of queues.values()) {
      const [first] = queue.pending
      if (first === undefined || (next !== null && first.order >= next.pending[0]!.order)) continue
      if (this.#hasRoomAtOrigin(queue)) next = queue
    }
    return next
  }

  #hasRoomAtOrigin({ active: own, ofClient, ofAll, lane, pace }: Queue): boolean {
    const isWithinShare =
      own < lane.maxPerOrigin &&
      leavesRoom(own, ofClient.active, this.#atOrigin.client) &&
      leavesRoom(ofClient.active, ofAll.active, this.#atOrigin.inAll)
    if (!isWithinShare) return false
    const nowMs = performance.now()
    const delayMs = pace.delayMs(nowMs)
    if (delayMs === 0) return true
    this.#lastGateMs = Math.max(this.#lastGateMs, pace.gateMs)
    if (delayMs < Number.POSITIVE_INFINITY) this.#lookAgain(nowMs + delayMs)
    return false
  }

  #start(queue: Queue): void {
    const { lane, pace } = queue
    const { throttle } = lane.client
    const isShared = this.#isWithinShare(lane)
    this.#comeLast(lane)
    lane.waiting--
    this.#count(queue, 1, isShared)
    const startedMs = performance.now()
    throttle.started()
    pace.started(startedMs)
    let held = true
    const release: Release = (receivedBytes) => {
      if (!held) return
      held = false
      pace.ended()
      if (receivedBytes !== null) throttle.ended(receivedBytes, performance.now() - startedMs)
      this.#count(queue, -1, isShared)
      this.#leaveIfEmpty(queue)
      this.#schedule()
    }
    queue.pending.shift()!.start(release, pace)
  }

  /** Moves the lane and its client to the end of the order, because they have had their turn. */
  #comeLast(lane: LaneState): void {
    const { client } = lane
    client.lanes.delete(lane)
    client.lanes.add(lane)
    this.#clients.delete(client.name)
    this.#clients.set(client.name, client)
  }

  #count(queue: Queue, more: 1 | -1, isShared: boolean): void {
    if (isShared) {
      this.#shared += more
      queue.lane.client.shared += more
    }
    this.#active += more
    queue.lane.client.active += more
    queue.lane.active += more
    queue.active += more
    queue.ofClient.active += more
    queue.ofAll.active += more
  }

  #openQueue(lane: LaneState, origin: string): Queue {
    const [ofClient, ofAll] = [useOf(lane.client.origins, origin), useOf(this.#origins, origin)]
    const pace = this.#pacedOrigins.paceOf(origin)
    const queue: Queue = { origin, lane, pending: [], active: 0, ofClient, ofAll, pace }
    lane.queues.set(origin, queue)
    return queue
  }

  #leaveIfEmpty(queue: Queue): void {
    if (queue.pending.length > 0 || queue.active > 0) return
    const { origin, lane } = queue
    lane.queues.delete(origin)
    if (--queue.ofClient.queues === 0) lane.client.origins.delete(origin)
    if (--queue.ofAll.queues === 0) {
      this.#origins.delete(origin)
      this.#pacedOrigins.left(origin)
    }
    this.#forgetIfGone(lane.client)
  }

  #forgetIfGone(client: Client): void {
    if (client.lanes.size === 0 && client.active === 0) this.#clients.delete(client.name)
  }

  #clientOf(name: string): Client {
    const known = this.#clients.get(name)
    if (known !== undefined) return known
    const client = {
      name,
      throttle: this.#createThrottle(),
      active: 0,
      shared: 0,
      lanes: new Set<LaneState>(),
      origins: new Map(),
    }
    this.#clients.set(name, client)
    return client
  }
}
