// Random samples: each choice is a real one, however many samples a server offers.
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chooseSamples } from '../../client-web/choose-samples.ts'

const named = (count: number) => Array.from({ length: count }, (_, index) => `http://a/${index}`)

describe('chooseSamples', () => {
  it('gives some of the samples, none twice, and a different number each time', () => {
    fc.assert(
      fc.property(fc.integer({ min: 4, max: 40 }), fc.integer({ min: 0, max: 40 }), (offered, previous) => {
        const chosen = chooseSamples(named(offered), previous)
        expect(new Set(chosen).size).toBe(chosen.length)
        expect(named(offered)).toEqual(expect.arrayContaining(chosen))
        expect(chosen.length).toBeGreaterThanOrEqual(3)
        expect(chosen.length).not.toBe(previous)
      }),
    )
  })

  it('differs in order', () => {
    const orders = new Set(Array.from({ length: 50 }, () => chooseSamples(named(3), 0).join()))
    expect(orders.size).toBeGreaterThan(1)
  })

  it.each([0, 1, 2, 3])('gives all samples if only %i are offered', (offered) => {
    expect(chooseSamples(named(offered), offered).toSorted()).toEqual(named(offered))
  })

  it('stays in bounds for the smallest and the largest random number', () => {
    expect(chooseSamples(named(5), 0, () => 0)).toHaveLength(3)
    expect(chooseSamples(named(5), 0, () => 1 - Number.EPSILON)).toHaveLength(5)
  })
})
