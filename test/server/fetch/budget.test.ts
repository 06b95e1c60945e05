// Who may fetch next: caps, order, turns.
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createFetchBudget, type FetchBudgetOptions, type Lane, type Release } from '../../../server/fetch/budget.ts'
import { OriginPace } from '../../../server/fetch/origins/pace.ts'
import { createThrottles } from '../../../server/fetch/throttle.ts'
import { until } from '../../support/wait.ts'

/** Of an origin that has answered so often that requests need not begin in small groups. */
function provenPace(): OriginPace {
  const pace = new OriginPace()
  for (let n = 0; n < 1_000; n++) pace.served({ startedMs: 0, nowMs: 0, answerMs: 1 })
  return pace
}

function openBudget(options: Partial<FetchBudgetOptions> = {}) {
  const budget = createFetchBudget({
    maxFetches: 100,
    maxFetchesPerOrigin: 100,
    createThrottle: createThrottles(() => false),
    origins: { paceOf: () => provenPace(), left() {}, ruleFor: () => null },
    ...options,
  })
  const started: string[] = []
  const releases = new Map<string, Release>()
  return {
    budget,
    /** Names of tasks in the order in which they started. */
    started,
    add(lane: Lane, name: string, order: number, origin = 'o') {
      lane.add({
        order,
        origin,
        start(release) {
          started.push(name)
          releases.set(name, release)
        },
      })
    },
    async release(name: string, receivedBytes: number | null = 0) {
      releases.get(name)!(receivedBytes)
      await turn()
    },
  }
}

describe('the fetch budget', () => {
  it('starts up to the limit for all, and one more for each that ends', async () => {
    const { budget, started, add, release } = openBudget({ maxFetches: 2 })
    const lane = budget.openLane({ mayStart: () => true })
    for (const n of [0, 1, 2, 3]) add(lane, `${n}`, n, `o${n}`)
    await turn()
    expect(started).toEqual(['0', '1'])
    await release('1')
    expect(started).toEqual(['0', '1', '2'])
    expect(budget.active).toBe(2)
  })

  it('starts up to the limit for one origin, and lets tasks for other origins pass those that wait', async () => {
    const { budget, started, add, release } = openBudget({ maxFetchesPerOrigin: 1 })
    const lane = budget.openLane({ mayStart: () => true })
    add(lane, 'a0', 0, 'a')
    add(lane, 'a1', 1, 'a')
    add(lane, 'b2', 2, 'b')
    await turn()
    expect(started).toEqual(['a0', 'b2'])
    await release('b2')
    expect(started).toEqual(['a0', 'b2'])
    await release('a0')
    expect(started).toEqual(['a0', 'b2', 'a1'])
  })

  it('gives one lane the set number at an origin, and keeps a reserve for other lanes and clients', async () => {
    const { budget, started, add } = openBudget({ maxFetchesPerOrigin: 4 })
    const fill = async (lane: Lane, name: string) => {
      for (let n = 0; n < 20; n++) add(lane, `${name}${n}`, n, 'same')
      await turn()
      return started.filter((one) => one.startsWith(name)).length
    }
    const lane = (client: string) => budget.openLane({ mayStart: () => true, client })
    // One lane may have 4, one client 6, and all together 9.
    expect(await fill(lane('one'), 'a')).toBe(4)
    expect(await fill(lane('one'), 'b')).toBe(1)
    expect(await fill(lane('one'), 'c')).toBe(1)
    expect(await fill(lane('one'), 'd')).toBe(0)
    expect(await fill(lane('other'), 'e')).toBe(2)
    expect(await fill(lane('third'), 'f')).toBe(1)
    expect(started).toHaveLength(9)
  })

  it('lets a client that comes later begin at once, however long others hold their places', async () => {
    const { budget, started, add } = openBudget({ maxFetches: 32 })
    for (let index = 0; index < 40; index++) {
      const lane = budget.openLane({ mayStart: () => true, client: 'greedy' })
      for (let n = 0; n < 100; n++) add(lane, `greedy${index}-${n}`, n, `o${index}-${n}`)
    }
    await turn()
    const before = started.length
    const lane = budget.openLane({ mayStart: () => true, client: 'late' })
    for (let n = 0; n < 20; n++) add(lane, `late${n}`, n, `late${n}`)
    await turn()
    expect(started.length - before).toBeGreaterThanOrEqual(4)
  })

  it('keeps the order of a lane, whatever the order of adding, even for a task that comes back', async () => {
    const { budget, started, add, release } = openBudget({ maxFetches: 1 })
    const lane = budget.openLane({ mayStart: () => true })
    for (const [name, order] of [
      ['c', 2],
      ['a', 0],
      ['d', 3],
    ] as const)
      add(lane, name, order)
    await turn()
    expect(started).toEqual(['a'])
    add(lane, 'b', 1)
    add(lane, 'a again', 0)
    for (const name of ['a', 'a again', 'b', 'c']) await release(name)
    expect(started).toEqual(['a', 'a again', 'b', 'c', 'd'])
  })

  it('gives lanes turns, so that many tasks of one do not hold up another', async () => {
    const { budget, started, add, release } = openBudget({ maxFetches: 1 })
    const [one, other] = [budget.openLane({ mayStart: () => true }), budget.openLane({ mayStart: () => true })]
    for (const n of [0, 1, 2, 3]) add(one, `one${n}`, n)
    await turn()
    for (const n of [0, 1]) add(other, `other${n}`, n)
    for (const name of ['one0', 'other0', 'one1', 'other1', 'one2']) await release(name)
    expect(started).toEqual(['one0', 'other0', 'one1', 'other1', 'one2', 'one3'])
  })

  it('serves a lane that has nothing under way first, and gives the others turns', async () => {
    const { budget, started, add, release } = openBudget({ maxFetches: 4, maxInAll: 4 })
    const lanes = ['a', 'b', 'c'].map((name) => ({ name, lane: budget.openLane({ mayStart: () => true }) }))
    for (const { name, lane } of lanes.slice(0, 2)) for (const n of [0, 1, 2, 3]) add(lane, `${name}${n}`, n)
    await turn()
    expect(started).toEqual(['a0', 'b0', 'a1', 'b1'])
    for (const n of [0, 1, 2]) add(lanes[2]!.lane, `c${n}`, n)
    for (const name of ['a0', 'a1', 'b0', 'b1']) await release(name)
    expect(started.slice(4)).toEqual(['c0', 'a2', 'b2', 'c1'])
  })

  it('gives a lane its turns at a free origin, even if it waits long at another origin', async () => {
    const { budget, started, add, release } = openBudget({ maxFetchesPerOrigin: 2 })
    const [patient, busy] = [budget.openLane({ mayStart: () => true }), budget.openLane({ mayStart: () => true })]
    for (const n of [0, 1]) add(patient, `slow${n}`, n, 'slow')
    await turn()
    for (const n of [0, 1, 2, 3, 4]) add(busy, `busy${n}`, n, 'quick')
    await turn()
    for (const n of [2, 3]) add(patient, `patient${n}`, n, 'quick')
    for (const name of ['busy0', 'busy1']) await release(name)
    // The patient lane has more under way than the busy one, but it is its turn.
    expect(started.slice(4)).toEqual(['patient2', 'busy2'])
  })

  it('skips a lane without room until the lane is kicked', async () => {
    const { budget, started, add } = openBudget()
    let room = false
    const [full, free] = [budget.openLane({ mayStart: () => room }), budget.openLane({ mayStart: () => true })]
    add(full, 'full', 0)
    add(free, 'free', 0)
    await turn()
    expect(started).toEqual(['free'])
    room = true
    full.kick()
    await turn()
    expect(started).toEqual(['free', 'full'])
  })

  it('asks a lane if it has room before each start', async () => {
    const { budget, started, add } = openBudget()
    const lane = budget.openLane({ mayStart: () => started.length < 2 })
    for (const n of [0, 1, 2]) add(lane, `${n}`, n)
    await turn()
    expect(started).toEqual(['0', '1'])
  })

  it('starts nothing of a closed lane, neither waiting tasks nor new ones', async () => {
    const { budget, started, add, release } = openBudget({ maxFetches: 1 })
    const lane = budget.openLane({ mayStart: () => true })
    for (const n of [0, 1]) add(lane, `${n}`, n)
    await turn()
    lane.close()
    add(lane, 'late', 2)
    await release('0')
    expect(started).toEqual(['0'])
    expect(budget.active).toBe(0)
  })

  it('gives a client its share, however many archives of another client have their guaranteed places', async () => {
    const { budget, started, add } = openBudget({ maxFetches: 60 })
    for (let n = 0; n < 40; n++) {
      const lane = budget.openLane({ mayStart: () => true, client: 'mean' })
      for (let at = 0; at < 100; at++) add(lane, `mean${n}-${at}`, at, `origin${n}-${at}`)
    }
    await turn()
    const before = started.length
    const lane = budget.openLane({ mayStart: () => true, client: 'good' })
    for (let at = 0; at < 20; at++) add(lane, `good${at}`, at, 'good')
    await turn()
    expect(started.slice(before).sort()).toEqual(Array.from({ length: 20 }, (_, at) => `good${at}`).sort())
  })

  describe('while it is throttled', () => {
    it('for one client, still starts the tasks of another client', async () => {
      const isEnough = (active: number) => active >= 2
      const createThrottle = () => ({ isEnough, started() {}, ended() {} })
      const { budget, started, add } = openBudget({ createThrottle })
      for (const name of ['one', 'other']) {
        const lane = budget.openLane({ mayStart: () => true, client: 'mean' })
        for (let n = 0; n < 4; n++) add(lane, `${name}${n}`, n)
      }
      await turn()
      expect(started).toEqual(['one0', 'other0'])
      const lane = budget.openLane({ mayStart: () => true, client: 'good' })
      for (let n = 0; n < 3; n++) add(lane, `good${n}`, n)
      await turn()
      expect(started.slice(2)).toEqual(['good0', 'good1', 'good2'])
    })

    /** A throttle that holds back from `enough` on, and records what has ended. */
    function openThrottled(enough = 2) {
      const ended: number[] = []
      const throttle = {
        most: enough,
        isEnough: (active: number) => active >= throttle.most,
        started() {},
        ended: (n: number) => ended.push(n),
      }
      return { ...openBudget({ createThrottle: () => throttle }), throttle, ended }
    }

    it('starts no more while several lanes wait, and serves them in turn as others end', async () => {
      const { budget, started, add, release, ended } = openThrottled()
      const [one, other] = [budget.openLane({ mayStart: () => true }), budget.openLane({ mayStart: () => true })]
      for (const n of [0, 1, 2]) add(one, `one${n}`, n)
      for (const n of [0, 1]) add(other, `other${n}`, n)
      await turn()
      expect(started).toEqual(['one0', 'other0'])
      await release('one0', 123)
      expect(started).toEqual(['one0', 'other0', 'one1'])
      expect(ended).toEqual([123])
    })

    it('reports nothing to the throttle for a task that fetched no body', async () => {
      const { budget, add, release, ended } = openThrottled()
      const lane = budget.openLane({ mayStart: () => true })
      for (const [n, bytes] of [5, null, 7].entries()) {
        add(lane, `${n}`, n)
        await turn()
        await release(`${n}`, bytes)
      }
      expect(ended).toEqual([5, 7])
    })

    it('starts all tasks of a lane that waits alone', async () => {
      const { budget, started, add } = openThrottled()
      const [one, other] = [budget.openLane({ mayStart: () => true }), budget.openLane({ mayStart: () => true })]
      add(other, 'other', 0)
      await turn()
      for (const n of [0, 1, 2]) add(one, `${n}`, n)
      await turn()
      expect(started).toEqual(['other', '0', '1', '2'])
    })

    it('starts more when the throttle opens, even if no task ends', async () => {
      const { budget, started, add, throttle } = openThrottled()
      const [one, other] = [budget.openLane({ mayStart: () => true }), budget.openLane({ mayStart: () => true })]
      for (const n of [0, 1]) add(one, `one${n}`, n)
      for (const n of [0, 1]) add(other, `other${n}`, n)
      await turn()
      throttle.most = 100
      await until(() => started.length === 4, { what: 'the others to start' })
    })
  })

  it('takes a place back once, even if it is given back twice', async () => {
    const { budget, add, release } = openBudget({ maxFetches: 1 })
    const lane = budget.openLane({ mayStart: () => true })
    add(lane, 'a', 0)
    await turn()
    await release('a')
    await release('a')
    expect(budget.active).toBe(0)
  })
})
