// The decoder semaphore: never grants too many permits, shares them between lanes, and keeps some for whole bodies.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createDecoderSemaphore, type DecoderSemaphore } from '../../../server/fetch/decoder-semaphore.ts'

function ask(semaphore: DecoderSemaphore, lane: object, { count = 1, isWhole = false } = {}) {
  const asked = { granted: false, release: () => {} }
  asked.release = semaphore.acquire({ count, lane, isWhole, granted: () => (asked.granted = true) })
  return asked
}

const grantedOf = (asked: readonly { granted: boolean }[]) => asked.filter(({ granted }) => granted).length

describe('createDecoderSemaphore', () => {
  it('gives one lane fewer than all permits, and each new lane one at once', () => {
    const semaphore = createDecoderSemaphore()
    const many = Array.from({ length: 40 }, () => ask(semaphore, semaphore))
    expect(grantedOf(many)).toBe(3)
    const newcomers = [ask(semaphore, {}), ask(semaphore, {})]
    expect(grantedOf(newcomers)).toBe(2)
    const late = ask(semaphore, {})
    expect(late.granted).toBe(false)
    many.find(({ granted }) => granted)!.release()
    expect(late.granted).toBe(true)
  })

  it('has permits for whole bodies, even for those that need most, whatever else is being decoded', () => {
    const semaphore = createDecoderSemaphore()
    for (let n = 0; n < 10; n++) for (let times = 0; times < 10; times++) ask(semaphore, { n })
    expect(semaphore.isContended).toBe(true)
    expect(ask(semaphore, {}, { isWhole: true, count: 3 }).granted).toBe(true)
  })

  it('serves the lane that has fewest first, and of equal ones the one that came first', () => {
    const semaphore = createDecoderSemaphore({ max: 2, maxOpen: 1 })
    const [greedy, modest] = [{}, {}]
    const held = [ask(semaphore, greedy, { isWhole: true }), ask(semaphore, greedy, { isWhole: true })]
    const waiting = [
      ask(semaphore, greedy, { isWhole: true }),
      ask(semaphore, modest),
      ask(semaphore, modest, { isWhole: true }),
    ]
    held[0]!.release()
    expect(waiting.map(({ granted }) => granted)).toEqual([false, false, true])
    held[1]!.release()
    expect(waiting.map(({ granted }) => granted)).toEqual([true, false, true])
  })

  it('never grants more permits than there are, and leaves nobody waiting when all others have ended', () => {
    const lanes = [{}, {}, {}, {}]
    const step = fc.record({
      lane: fc.nat(lanes.length - 1),
      count: fc.integer({ min: 1, max: 3 }),
      isWhole: fc.boolean(),
      /** Which of the earlier ones ends before this one comes, if any does. */
      ends: fc.option(fc.nat()),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const semaphore = createDecoderSemaphore()
        const all: (ReturnType<typeof ask> & { count: number; isWhole: boolean })[] = []
        const held = (counts: (one: (typeof all)[number]) => boolean) =>
          all.filter((one) => one.granted && counts(one)).reduce((sum, { count }) => sum + count, 0)
        const end = (one: (typeof all)[number]) => {
          all.splice(all.indexOf(one), 1)
          one.release()
          one.release()
        }
        for (const { lane, count, isWhole, ends } of steps) {
          const asked = Object.assign(ask(semaphore, lanes[lane]!, { count, isWhole }), { count, isWhole })
          all.push(asked)
          if (ends !== null) end(all[ends % all.length]!)
          expect(held(() => true)).toBeLessThanOrEqual(8)
          expect(held(({ isWhole }) => !isWhole)).toBeLessThanOrEqual(5)
        }
        while (all.length > 0) {
          const next = all.find(({ granted }) => granted)
          expect(next).toBeDefined()
          end(next!)
        }
        expect(semaphore.isContended).toBe(false)
      }),
      { numRuns: 500 },
    )
  })
})
