// Who may fetch next: one budget for the process, a cap per origin, fair turns between lanes. Knows no HTTP.

export interface FetchTask {
  /** Tasks of a lane start in this order, as far as their origins have room. */
  readonly order: number
  readonly origin: string
  /** Starts it; `release` gives its place back and is called once. */
  start(release: () => void): void
}

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
}

interface LaneState {
  readonly mayStart: () => boolean
  /** By origin, each sorted by order. */
  readonly waiting: Map<string, FetchTask[]>
}

export function createFetchBudget({ maxFetches, maxFetchesPerOrigin }: FetchBudgetOptions): FetchBudget {
  const perOrigin = new Map<string, number>()
  /** In the order of their next turn. */
  const lanes = new Set<LaneState>()
  let active = 0
  let scheduled = false

  function schedule(): void {
    if (scheduled) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      startAll()
    })
  }

  function startAll(): void {
    let idle = 0
    while (active < maxFetches && idle < lanes.size) {
      const lane: LaneState = lanes.values().next().value!
      lanes.delete(lane)
      lanes.add(lane)
      const task = lane.mayStart() ? takeFirst(lane) : null
      if (task === null) {
        idle++
        continue
      }
      idle = 0
      start(task)
    }
  }

  /** The earliest task whose origin has room. */
  function takeFirst({ waiting }: LaneState): FetchTask | null {
    let best: FetchTask[] | null = null
    for (const [origin, tasks] of waiting) {
      if ((perOrigin.get(origin) ?? 0) >= maxFetchesPerOrigin) continue
      if (best === null || tasks[0]!.order < best[0]!.order) best = tasks
    }
    const task = best?.shift() ?? null
    if (best?.length === 0) waiting.delete(task!.origin)
    return task
  }

  function start(task: FetchTask): void {
    active++
    perOrigin.set(task.origin, (perOrigin.get(task.origin) ?? 0) + 1)
    let held = true
    task.start(() => {
      if (!held) return
      held = false
      active--
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
      const lane: LaneState = { mayStart, waiting: new Map() }
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
