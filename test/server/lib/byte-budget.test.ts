// The byte budget: what it lets be held, that newcomers find room, and that bytes come back.
import { describe, expect, it } from 'vitest'
import { createByteBudget } from '../../../server/lib/byte-budget.ts'

describe('a budget of bytes', () => {
  it('holds more and less, and refuses what there is no room for without a change', () => {
    const budget = createByteBudget(100)
    const account = budget.open('a')
    expect([account.hold(60), account.hold(80), account.bytes, budget.used]).toEqual([true, false, 60, 60])
    expect([account.hold(10), budget.used]).toEqual([true, 10])
    account[Symbol.dispose]()
    expect([account.bytes, budget.used]).toEqual([0, 0])
  })

  it('lets nobody hold so much that a newcomer finds nothing, however many accounts one has', () => {
    const budget = createByteBudget(900)
    const holdAll = (key: string) => {
      let held = 0
      while (budget.open(key).hold(10)) held += 10
      return held
    }
    expect([holdAll('a'), holdAll('b'), holdAll('c')]).toEqual([600, 200, 60])
    expect(budget.open('d').hold(10)).toBe(true)
  })

  it('lets less be held whatever others hold', () => {
    const budget = createByteBudget(100)
    const account = budget.open('a')
    account.hold(60)
    budget.open('b').hold(40)
    expect([account.hold(50), budget.used]).toEqual([true, 90])
  })
})
