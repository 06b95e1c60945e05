// Turns: one in each turn of the loop, and every key gets its first before any key gets its second.
import { setImmediate as breathe } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createTurns } from '../../../server/lib/turns.ts'

describe('turns', () => {
  it('come one in each turn of the loop, and each key gets its first before any gets its second', async () => {
    const turns = createTurns()
    const had: string[] = []
    for (const name of ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']) void turns.next(name[0]!).then(() => had.push(name))
    for (let n = 1; n <= 6; n++) {
      await Promise.resolve()
      expect(had).toHaveLength(n)
      await breathe()
    }
    expect(had.join(' ')).toBe('a1 a2 b1 c1 a3 b2')
  })

  it('can come several in a turn of the loop, and go to those that wait before anybody else', async () => {
    const turns = createTurns(2)
    const had: string[] = []
    expect([turns.take(), turns.take(), turns.take()]).toEqual([true, true, false])
    for (const name of ['a1', 'a2', 'b1', 'b2', 'b3']) void turns.next(name[0]!).then(() => had.push(name))
    for (const most of [2, 4, 5]) {
      expect(turns.take()).toBe(false)
      await breathe()
      expect(had).toHaveLength(most)
    }
    expect(had.join(' ')).toBe('a1 b1 a2 b2 b3')
    expect(turns.take()).toBe(true)
  })

  it('come at once if nobody waits', async () => {
    const turns = createTurns()
    let had = 0
    for (let n = 0; n < 3; n++) {
      void turns.next('a').then(() => had++)
      await Promise.resolve()
      expect(had).toBe(n + 1)
      await breathe()
      await breathe()
    }
  })
})
