// A pool of blocks: given out up to a limit, reused, and freed when nobody needs them.
import { describe, expect, it } from 'vitest'
import { createBlockPool } from '../../../server/lib/blocks.ts'
import { until } from '../../support/wait.ts'

const open = (idleMs?: number) => createBlockPool({ blockBytes: 1024, maxBytes: 3 * 1024, idleMs })

describe('a pool of blocks', () => {
  it('gives out as many as its limit allows, and not one more', () => {
    using pool = open()
    const taken = [pool.take(), pool.take(), pool.take()]
    expect(taken.map((block) => block?.memory.length)).toEqual([1024, 1024, 1024])
    expect([pool.take(), pool.live]).toEqual([null, 3])
    pool.release(taken[0]!)
    expect(pool.take()).toBe(taken[0])
  })

  it('reuses a block only when its last user has released it, and the most recent block first', () => {
    using pool = open()
    const [first, second] = [pool.take()!, pool.take()!]
    const hold = pool.hold(first)
    pool.release(first)
    expect([pool.live, pool.free]).toEqual([2, 0])
    pool.release(second)
    hold.release()
    expect(() => hold.release()).toThrow('twice')
    expect([pool.live, pool.free]).toEqual([0, 2])
    expect([pool.take(), pool.take()]).toEqual([first, second])
  })

  it('never reuses an orphaned block, even if it is released later', () => {
    using pool = open()
    const block = pool.take()!
    const hold = pool.hold(block)
    pool.orphan(block)
    hold.release()
    pool.release(block)
    expect([pool.live, pool.free]).toEqual([0, 0])
  })

  it('frees blocks that nobody needed for a while, and keeps those that are used', async () => {
    using pool = open(20)
    const blocks = [pool.take()!, pool.take()!, pool.take()!]
    for (const block of blocks) pool.release(block)
    let others = 0
    const isDown = () => {
      // One block is used now and then.
      const block = pool.take()!
      if (!blocks.includes(block)) others++
      pool.release(block)
      return pool.free === 1
    }
    await until(isDown, { what: 'the two others to go' })
    expect(others).toBe(0)
    await until(() => pool.free === 0, { what: 'the last one to go' })
  })
})
