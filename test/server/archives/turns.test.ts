// Turns between clients: who waits for whom.
import { describe, expect, it } from 'vitest'
import { fairOrder } from '../../../server/archives/turns.ts'

const of = (names: string) => names.split(' ').map((name) => ({ name, client: name[0]! }))
const order = (waiting: string, running = '') =>
  fairOrder(of(waiting), running === '' ? [] : of(running))
    .map(({ name }) => name)
    .join(' ')

describe('turns', () => {
  it('are in order of arrival for one client', () => {
    expect(order('a1 a2 a3')).toBe('a1 a2 a3')
  })

  it('let a client with one archive pass a client with many', () => {
    expect(order('a1 a2 a3 b1')).toBe('a1 b1 a2 a3')
    expect(order('a1 a2 b1 c1 b2')).toBe('a1 b1 c1 a2 b2')
  })

  it('count the running archives of a client', () => {
    expect(order('a3 b1', 'a1 a2')).toBe('b1 a3')
    expect(order('a2 b2', 'a1 b1')).toBe('a2 b2')
  })
})
