// How much an origin is asked, in virtual time: origins that limit requests in different ways, and what each one sees.
import { describe, expect, it } from 'vitest'
import { OriginPace } from '../../../../server/fetch/origins/pace.ts'
import { ask, banning, bucket, concurrent, type PacedOrigin, serial, windowed } from '../../../support/paced-origin.ts'

describe('an origin without limits', () => {
  const answersAfter =
    (afterMs: number): PacedOrigin =>
    () => ({ afterMs, refused: false, waitMs: null })

  it.each([2, 50, 2_000])(
    'that answers after %i ms is asked as much as it can be, from the first moments on',
    (afterMs) => {
      const { done, maxActive, startsMs } = ask(320, answersAfter(afterMs))
      expect([done, maxActive]).toEqual([320, 32])
      expect(startsMs[31]).toBeLessThanOrEqual(70)
    },
  )

  it('that answers at once is asked for as many long bodies as there may be', () => {
    const pace = new OriginPace()
    let begun = 0
    for (; begun < 40 && pace.delayMs(begun) === 0; begun++) {
      pace.started(begun)
      pace.sent(begun)
      pace.answered()
      pace.served({ startedMs: begun, nowMs: begun, answerMs: 0.5 })
    }
    expect(begun).toBe(40)
  })

  it('is forgotten once nothing is under way', () => {
    const pace = new OriginPace()
    pace.started(0)
    expect(pace.isHealthy(0)).toBe(false)
    pace.ended()
    expect(pace.isHealthy(0)).toBe(true)
  })
})

/** Files, the origin, the most refusals, the most seconds. */
const limited: readonly (readonly [string, number, () => PacedOrigin, number, number])[] = [
  ['10 in a second, and asks for 5 s', 500, () => windowed(10, 1_000, 5_000), 50, 110],
  ['10 a second as a bucket, and asks for 5 s', 500, () => bucket(10, 10, 5_000), 50, 110],
  ['10 a second without a burst, and asks for 5 s', 500, () => bucket(10, 1, 5_000), 50, 200],
  ['10 in a second, and asks for what is true', 500, () => windowed(10, 1_000, 'true'), 50, 75],
  ['20 in 10 s, and asks for what is true', 200, () => windowed(20, 10_000, 'true'), 30, 110],
  ['20 in 10 s, and asks for nothing', 200, () => windowed(20, 10_000, null), 100, 200],
  ['60 in a minute, and asks for what is true', 200, () => windowed(60, 60_000, 'true'), 40, 200],
  ['10 a second without a burst, and asks for nothing', 300, () => bucket(10, 1, null), 30, 75],
  ['4 at a time, of 2 s', 40, () => concurrent(4, 2_000), 8, 26],
  ['4 at a time, of 2 s, and asks for 1 s', 40, () => concurrent(4, 2_000, 1_000), 8, 32],
  ['4 at a time, of 0.2 s', 400, () => concurrent(4, 200), 20, 25],
  ['1 at a time, of 2 s', 40, () => concurrent(1, 2_000), 12, 84],
  ['one after the other, of 2 s', 60, () => serial(2_000), 0, 121],
]

describe('an origin that takes', () => {
  it.each(limited)('%s, gives everything, and refuses little', (_, files, open, maxRefused, maxSeconds) => {
    const { done, refused, tookMs } = ask(files, open())
    expect(done).toBe(files)
    expect(refused).toBeLessThanOrEqual(maxRefused)
    expect(tookMs / 1_000).toBeLessThanOrEqual(maxSeconds)
  })

  it.each(limited.filter(([what]) => !what.includes('nothing') && !what.includes('minute')))(
    '%s, and bans after 20 refusals, does not ban',
    (_, files, open) => {
      expect(ask(files, banning(open(), 20)).done).toBe(files)
    },
  )
})

describe('a pause that an origin asks for', () => {
  const refuseFirst = (count: number, waitMs: number): PacedOrigin => {
    let left = count
    return () => (left-- > 0 ? { afterMs: 2, refused: true, waitMs } : { afterMs: 10, refused: false, waitMs: null })
  }

  it('is kept to the end, and then one request goes first', () => {
    const { startsMs, done } = ask(100, refuseFirst(4, 60_000))
    const after = startsMs.filter((ms) => ms > 1_000)
    expect(done).toBe(100)
    expect(after[0]).toBeGreaterThanOrEqual(60_002)
    expect(after[1]! - after[0]!).toBeGreaterThanOrEqual(10)
    // Not all at once.
    expect(after.filter((ms) => ms < after[0]! + 25).length).toBeLessThanOrEqual(8)
  })

  it('that nobody can wait for is not kept, but after some of them nobody is asked to try', () => {
    const pace = new OriginPace({ maxWaitMs: 10_000 })
    for (let n = 0; n < 3; n++) {
      expect(pace.isClosed(n)).toBe(false)
      pace.started(n)
      pace.refused({ startedMs: n, nowMs: n, waitMs: 86_400_000, by: {} })
      pace.ended()
      expect(pace.gateMs).toBeLessThan(10_000)
    }
    expect(pace.isClosed(3)).toBe(true)
    expect(pace.isHealthy(3)).toBe(false)
    // It is asked again some day.
    expect(pace.isClosed(3_600_000)).toBe(false)
  })
})

describe('what an operator sets', () => {
  const open: PacedOrigin = () => ({ afterMs: 100, refused: false, waitMs: null })

  it('for requests at a time is never exceeded', () => {
    expect(ask(50, open, { options: { maxFetches: 3 } })).toMatchObject({ done: 50, maxActive: 3 })
  })

  it('for requests a second is kept', () => {
    const { tookMs, startsMs } = ask(50, open, { options: { requestsPerSecond: 10 } })
    expect(tookMs).toBeGreaterThanOrEqual(4_900)
    expect(tookMs).toBeLessThan(5_500)
    for (const [n, ms] of startsMs.entries()) expect(ms).toBeGreaterThanOrEqual(100 * n - 20)
  })
})

describe('an origin that gets slow when it is asked much', () => {
  it('is asked for less, but not by those files that are always slow to make', () => {
    let active = 0
    const seen: number[] = []
    const shared: PacedOrigin = (_, after) => {
      seen.push(++active)
      const afterMs = 100 * active
      after(afterMs, () => active--)
      return { afterMs, refused: false, waitMs: null }
    }
    expect(ask(600, shared).done).toBe(600)
    expect(Math.max(...seen)).toBe(32)
    expect(Math.max(...seen.slice(200))).toBeLessThan(24)

    let n = 0
    const mixed: PacedOrigin = () => ({ afterMs: n++ % 20 === 0 ? 5_000 : 10, refused: false, waitMs: null })
    const run = ask(400, mixed)
    expect(run.done).toBe(400)
    // 20 slow ones, at least four at a time.
    expect(run.tookMs).toBeLessThan(40_000)
  })
})
