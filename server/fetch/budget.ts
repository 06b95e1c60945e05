// Who may fetch next: one budget for the process, a cap per origin, fair turns between lanes. Knows no HTTP.
import type { Crowd } from './crowd.ts'

export interface FetchTask {
  /** Tasks of a lane start in this order, as far as their origins have room. */
  readonly order: number
  readonly origin: string
  /** Starts it; `release` gives its place back and is called once. */
  start(release: Release): void
}

export type Release = (receivedBytes: number) => void

export interface Lane {
  add(task: FetchTask): void
  /** To be called when `mayStart` could have become true. */
  kick(): void
  /** Drops what has not started. */
  close(): void
}

export interface FetchBudget {
  readonly active: number
  /** `mayStart` says if the lane's owner has room for one more. */
  openLane(mayStart: () => boolean): Lane
}

export interface FetchBudgetOptions {
  maxFetches: number
  maxFetchesPerOrigin: number
  crowd: Crowd
}

interface LaneState {
  readonly mayStart: () => boolean
  /** Fetches of it under way. */
  active: number
  /** By origin, each sorted by order. */
  readonly waiting: Map<string, FetchTask[]>
}

const LOOK_AGAIN_MS = 20

export function createFetchBudget({ maxFetches, maxFetchesPerOrigin, crowd }: FetchBudgetOptions): FetchBudget {
  const perOrigin = new Map<string, number>()
  /** In the order of their next turn. */
  const lanes = new Set<LaneState>()
  let active = 0
  let scheduled = false
  let lookingAgain = false

  function schedule(): void {
    if (scheduled) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      startAll()
    })
  }

  function startAll(): void {
    // Starting makes room nowhere: who could not start once cannot in this pass.
    const blocked = new Set<LaneState>()
    while (active < maxFetches) {
      if (crowd.isEnough(active) && areSeveralWaiting()) return lookAgain()
      const lane = nextLane(blocked)
      if (lane === null) return
      // It comes last from now on.
      lanes.delete(lane)
      lanes.add(lane)
      start(takeFirst(lane), lane)
    }
  }

  /** An archive alone has its bytes the sooner, the more is under way. */
  function areSeveralWaiting(): boolean {
    let count = 0
    for (const { waiting } of lanes) if (waiting.size > 0 && ++count > 1) return true
    return false
  }

  /** It is a crowd no more when the process has time left, or those under way turn out slow: both without any of them ending. */
  function lookAgain(): void {
    if (lookingAgain) return
    lookingAgain = true
    setTimeout(() => {
      lookingAgain = false
      schedule()
    }, LOOK_AGAIN_MS).unref()
  }

  /** By turns; but one with nothing under way, as a new one, does not wait until all others had theirs. */
  function nextLane(blocked: Set<LaneState>): LaneState | null {
    let next: LaneState | null = null
    for (const lane of lanes) {
      if (blocked.has(lane) || (next !== null && lane.active > 0)) continue
      if (!lane.mayStart() || firstTasks(lane) === null) blocked.add(lane)
      else if (lane.active === 0) return lane
      else next = lane
    }
    return next
  }

  /** Those of the origin that has room and the earliest task. */
  function firstTasks({ waiting }: LaneState): FetchTask[] | null {
    let best: FetchTask[] | null = null
    for (const [origin, tasks] of waiting) {
      if ((perOrigin.get(origin) ?? 0) >= maxFetchesPerOrigin) continue
      if (best === null || tasks[0]!.order < best[0]!.order) best = tasks
    }
    return best
  }

  function takeFirst(lane: LaneState): FetchTask {
    const tasks = firstTasks(lane)!
    const task = tasks.shift()!
    if (tasks.length === 0) lane.waiting.delete(task.origin)
    return task
  }

  function start(task: FetchTask, lane: LaneState): void {
    active++
    lane.active++
    perOrigin.set(task.origin, (perOrigin.get(task.origin) ?? 0) + 1)
    const startedMs = performance.now()
    crowd.started()
    let held = true
    task.start((receivedBytes) => {
      if (!held) return
      held = false
      crowd.ended(receivedBytes, performance.now() - startedMs)
      active--
      lane.active--
      const left = perOrigin.get(task.origin)! - 1
      if (left === 0) perOrigin.delete(task.origin)
      else perOrigin.set(task.origin, left)
      schedule()
    })
  }

  return {
    get active() {
      return active
    },
    openLane(mayStart) {
      const lane: LaneState = { mayStart, active: 0, waiting: new Map() }
      lanes.add(lane)
      return {
        add(task) {
          const tasks = lane.waiting.get(task.origin)
          if (tasks === undefined) lane.waiting.set(task.origin, [task])
          else if (tasks.at(-1)!.order < task.order) tasks.push(task)
          else tasks.splice(tasks.findLastIndex(({ order }) => order < task.order) + 1, 0, task)
          schedule()
        },
        kick: schedule,
        close() {
          lane.waiting.clear()
          lanes.delete(lane)
        },
      }
    },
  }
}
