// Who may fetch next: shares of clients and their archives, in all and at each origin, and fair turns. Knows no HTTP.
import { leavesRoom } from '../lib/quota.ts'
import type { Throttle } from './throttle.ts'

export interface PendingFetch {
  /** Fetches of a lane start in this order, as far as their origins have room. */
  readonly order: number
  readonly origin: string
  /** Starts it; `release` gives its place back and is called once. */
  start(release: Release): void
}

/** `receivedBytes`: of a body; null if none was asked for, which says nothing about bodies. */
export type Release = (receivedBytes: number | null) => void

export interface Lane {
  add(fetch: PendingFetch): void
  /** To be called when `mayStart` could have become true. */
  kick(): void
  /** Drops what has not started. */
  close(): void
}

export interface FetchBudget {
  readonly active: number
  /**
   * `mayStart` says if the lane's owner has room for one more. Lanes of one client share what that may have.
   * @param client its address. @default '' for what nobody asked for by name
   */
  openLane(mayStart: () => boolean, client?: string): Lane
}

export interface FetchBudgetOptions {
  /** What a lane may have while it is alone; `sharesOf` says what there is for others besides. */
  maxFetches: number
  /** The same at each origin. */
  maxFetchesPerOrigin: number
  /** Never more, whoever asks. @default no limit */
  maxInAll?: number
  /** One for each client: what is much for one does not keep another out. */
  createThrottle(): Throttle
}

/** A lane has these in any case, whatever others hold for however long, as far as its origins have room. They are no part of the shares. */
export const SURE_FETCHES = 4

/**
 * One and a half of what a lane may have alone for all lanes of its client, and one and a half of that for all clients. By
 * `leavesRoom` a lane and a client each take at most two thirds of what the others leave: the first has what is set.
 */
export function sharesOf(alone: number): { client: number; inAll: number } {
  const client = Math.ceil((3 * alone) / 2)
  return { client, inAll: Math.ceil((3 * client) / 2) }
}

interface Client {
  readonly name: string
  readonly throttle: Throttle
  active: number
  /** Of these, within its share. */
  shared: number
  /** In the order of their next turn. */
  readonly lanes: Set<LaneState>
  readonly origins: Map<string, Use>
}

interface LaneState {
  readonly client: Client
  readonly mayStart: () => boolean
  /** Fetches of it under way. */
  active: number
  waiting: number
  /** By origin, as long as it has something waiting or under way there. */
  readonly queues: Map<string, Queue>
}

/** A lane at an origin. */
interface Queue {
  readonly origin: string
  readonly lane: LaneState
  /** Those waiting, sorted by order. */
  readonly pending: PendingFetch[]
  active: number
  readonly ofClient: Use
  readonly ofAll: Use
}

/** What several queues have under way together. */
interface Use {
  active: number
  queues: number
}

const LOOK_AGAIN_MS = 20

export function createFetchBudget(options: FetchBudgetOptions): FetchBudget {
  return new SharedBudget(options)
}

/** Made by `createFetchBudget`. Starts fetches in a later turn of the loop, as many as there is room for by then. */
class SharedBudget implements FetchBudget {
  readonly #sure: number
  readonly #maxInAll: number
  readonly #maxOfClient: number
  readonly #maxOfAll: number
  readonly #atOrigin: ReturnType<typeof sharesOf>
  readonly #createThrottle: () => Throttle
  /** In the order of their next turn. */
  readonly #clients = new Map<string, Client>()
  readonly #origins = new Map<string, Use>()
  #active = 0
  #shared = 0
  #scheduled = false
  #lookingAgain = false

  constructor({
    maxFetches,
    maxFetchesPerOrigin,
    maxInAll = Number.POSITIVE_INFINITY,
    createThrottle,
  }: FetchBudgetOptions) {
    const { client, inAll } = sharesOf(maxFetches)
    this.#sure = Math.min(SURE_FETCHES, maxFetches)
    this.#maxInAll = maxInAll
    this.#maxOfClient = Math.min(client, maxInAll)
    this.#maxOfAll = Math.min(inAll, maxInAll)
    this.#atOrigin = sharesOf(maxFetchesPerOrigin)
    this.#createThrottle = createThrottle
  }

  get active(): number {
    return this.#active
  }

  openLane(mayStart: () => boolean, clientName = ''): Lane {
    const client = this.#clientOf(clientName)
    const lane: LaneState = { client, mayStart, active: 0, waiting: 0, queues: new Map() }
    client.lanes.add(lane)
    return {
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
    // Starting a fetch frees nothing, so whoever cannot start now cannot start later in this pass.
    const blocked = new Set<Client | LaneState>()
    while (this.#active < this.#maxInAll) {
      const next = this.#nextOfAll(blocked)
      if (next === null) return
      this.#start(next)
    }
  }

  /** An archive alone has its bytes the sooner, the more is under way. */
  #areSeveralWaiting({ lanes }: Client): boolean {
    let count = 0
    for (const { waiting } of lanes) if (waiting > 0 && ++count > 1) return true
    return false
  }

  /** The process may get time to spare, or the fetches under way turn out slow, without any of them ending. */
  #lookAgain(): void {
    if (this.#lookingAgain) return
    this.#lookingAgain = true
    setTimeout(() => {
      this.#lookingAgain = false
      this.#schedule()
    }, LOOK_AGAIN_MS).unref()
  }

  /** By turns between clients; but one with nothing under way, as a new one, does not wait until all others had theirs. */
  #nextOfAll(blocked: Set<Client | LaneState>): Queue | null {
    let next: Queue | null = null
    for (const client of this.#clients.values()) {
      if (blocked.has(client) || (next !== null && client.active > 0)) continue
      const queue = this.#nextOfClient(client, blocked)
      if (queue === null) blocked.add(client)
      else if (client.active === 0) return queue
      else next = queue
    }
    return next
  }

  /** By turns between its lanes, in the same way. */
  #nextOfClient(client: Client, blocked: Set<Client | LaneState>): Queue | null {
    if (client.throttle.isEnough(client.active) && this.#areSeveralWaiting(client)) {
      this.#lookAgain()
      return null
    }
    let next: Queue | null = null
    for (const lane of client.lanes) {
      if (blocked.has(lane) || (next !== null && lane.active > 0)) continue
      const queue = lane.waiting > 0 && this.#hasRoom(lane) && lane.mayStart() ? this.#nextOfLane(lane) : null
      if (queue === null) blocked.add(lane)
      else if (lane.active === 0) return queue
      else next = queue
    }
    return next
  }

  #hasRoom(lane: LaneState): boolean {
    return lane.active < this.#sure || this.#isWithinShare(lane)
  }

  #isWithinShare({ active: own, client }: LaneState): boolean {
    return leavesRoom(own, client.shared, this.#maxOfClient) && leavesRoom(client.shared, this.#shared, this.#maxOfAll)
  }

  /** That of the earliest fetch whose origin has room. */
  #nextOfLane({ queues }: LaneState): Queue | null {
    let next: Queue | null = null
    for (const queue of queues.values()) {
      const [first] = queue.pending
      if (first === undefined || (next !== null && first.order >= next.pending[0]!.order)) continue
      if (this.#hasRoomAtOrigin(queue)) next = queue
    }
    return next
  }

  #hasRoomAtOrigin({ active: own, ofClient, ofAll }: Queue): boolean {
    return (
      leavesRoom(own, ofClient.active, this.#atOrigin.client) &&
      leavesRoom(ofClient.active, ofAll.active, this.#atOrigin.inAll)
    )
  }

  #start(queue: Queue): void {
    const { lane } = queue
    const { throttle } = lane.client
    const isShared = this.#isWithinShare(lane)
    this.#comeLast(lane)
    lane.waiting--
    this.#count(queue, 1, isShared)
    const startedMs = performance.now()
    throttle.started()
    let held = true
    queue.pending.shift()!.start((receivedBytes) => {
      if (!held) return
      held = false
      if (receivedBytes !== null) throttle.ended(receivedBytes, performance.now() - startedMs)
      this.#count(queue, -1, isShared)
      this.#leaveIfEmpty(queue)
      this.#schedule()
    })
  }

  /** After its turn, and its client's. */
  #comeLast(lane: LaneState): void {
    const { client } = lane
    if (client.lanes.size > 1) {
      client.lanes.delete(lane)
      client.lanes.add(lane)
    }
    if (this.#clients.size > 1) {
      this.#clients.delete(client.name)
      this.#clients.set(client.name, client)
    }
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
    const queue: Queue = { origin, lane, pending: [], active: 0, ofClient, ofAll }
    lane.queues.set(origin, queue)
    return queue
  }

  #leaveIfEmpty(queue: Queue): void {
    if (queue.pending.length > 0 || queue.active > 0) return
    const { origin, lane } = queue
    lane.queues.delete(origin)
    if (--queue.ofClient.queues === 0) lane.client.origins.delete(origin)
    if (--queue.ofAll.queues === 0) this.#origins.delete(origin)
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

function useOf(uses: Map<string, Use>, origin: string): Use {
  let use = uses.get(origin)
  if (use === undefined) {
    use = { active: 0, queues: 0 }
    uses.set(origin, use)
  }
  use.queues++
  return use
}
