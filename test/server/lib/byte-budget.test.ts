// The byte budget: how much may be held, that newcomers find room, and that bytes are given back.
import { describe, expect, it } from 'vitest'
import { createByteBudget } from '../../../server/lib/byte-budget.ts'

describe('a budget of bytes', () => {
  it('lets an account grow and shrink, and changes nothing if there is no room', () => {
    const budget = createByteBudget(100)
    const account = budget.open('a')
    expect([account.hold(60), account.hold(80), account.bytes, budget.used]).toEqual([true, false, 60, 60])
    expect([account.hold(10), budget.used]).toEqual([true, 10])
    account[Symbol.dispose]()
    expect([account.bytes, budget.used]).toEqual([0, 0])
  })

  it('always leaves room for a newcomer, however many accounts a client has', () => {
    const budget = createByteBudget(900)
    const holdAll = (key: string) => {
      let held = 0
      while (budget.open(key).hold(10)) held += 10
      return held
    }
    expect([holdAll('a'), holdAll('b'), holdAll('c')]).toEqual([600, 200, 60])
    expect(budget.open('d').hold(10)).toBe(true)
  })

  it('always lets an account shrink, whatever others hold', () => {
    const budget = createByteBudget(100)
    const account = budget.open('a')
    account.hold(60)
    budget.open('b').hold(40)
    expect([account.hold(50), budget.used]).toEqual([true, 90])
  })
})
