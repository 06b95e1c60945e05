// Turns of clients and of their archives, compared with the simplest model of them.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createRota } from '../../../server/lib/rota.ts'

it('gives clients turns, and the archives of each, in the order they came', () => {
  const rota = createRota<string>()
  for (const name of ['a1', 'a2', 'a3']) rota.add('mean', 'a', name)
  for (const name of ['b1', 'b2']) rota.add('mean', 'b', name)
  rota.add('good', 'c', 'c1')
  rota.remove('mean', 'a', 'a2')
  rota.remove('mean', 'a', 'never there')
  const order = Array.from({ length: 6 }, () => rota.next())
  expect(order).toEqual(['a1', 'c1', 'b1', 'a3', 'b2', undefined])
})

it('lets nobody wait longer than one turn of all other clients, and loses nobody', () => {
  const waiting = fc.tuple(fc.constantFrom('x', 'y', 'z'), fc.constantFrom('1', '2'))
  fc.assert(
    fc.property(fc.array(fc.record({ add: fc.option(waiting), remove: fc.boolean() }), { maxLength: 60 }), (steps) => {
      const rota = createRota<number>()
      const there = new Map<number, readonly [string, string]>()
      const passed = new Map<string, number>()
      for (const [item, { add, remove }] of steps.entries()) {
        if (add !== null) {
          rota.add(...add, item)
          if (![...there.values()].some(([client]) => client === add[0])) passed.set(add[0], 0)
          there.set(item, add)
          continue
        }
        const [first] = there
        if (remove && first !== undefined) {
          rota.remove(...first[1], first[0])
          there.delete(first[0])
          continue
        }
        const next = rota.next()
        if (next === undefined) {
          expect(there.size).toBe(0)
          continue
        }
        const [client] = there.get(next)!
        there.delete(next)
        for (const other of passed.keys()) passed.set(other, other === client ? 0 : passed.get(other)! + 1)
        for (const [other] of there.values()) expect(passed.get(other)).toBeLessThanOrEqual(2)
      }
    }),
  )
})
