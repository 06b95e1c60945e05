// The quota: whom it admits, whom it refuses, and that places are given back.
import { describe, expect, it } from 'vitest'
import { createQuota } from '../../../server/lib/quota.ts'

describe('a quota', () => {
  it('gives each key its places and no more', () => {
    const quota = createQuota({ perKey: 2, inAll: 10 })
    expect(quota.take('a')).not.toBeNull()
    expect(quota.take('a')).not.toBeNull()
    expect(quota.take('a')).toBeNull()
    expect(quota.take('b')).not.toBeNull()
  })

  it('never gives more than all places, whoever asks', () => {
    const quota = createQuota({ perKey: 2, inAll: 3 })
    for (const key of ['a', 'b', 'c']) expect(quota.take(key)).not.toBeNull()
    expect(quota.take('d')).toBeNull()
  })

  it('always leaves a place for a newcomer', () => {
    const quota = createQuota({ perKey: 100, inAll: 9 })
    const takeAll = (key: string) => {
      let taken = 0
      while (quota.take(key) !== null) taken++
      return taken
    }
    expect([takeAll('a'), takeAll('b'), takeAll('c')]).toEqual([6, 2, 1])
    expect(quota.used).toBe(9)
  })

  it('counts places that are already in use, even beyond the limits, and admits nobody until there is room', () => {
    const quota = createQuota({ perKey: 1, inAll: 2 })
    const held = ['a', 'a', 'b'].map((key) => quota.hold(key))
    expect(quota.used).toBe(3)
    held.pop()![Symbol.dispose]()
    expect(quota.take('c')).toBeNull()
    held.pop()![Symbol.dispose]()
    expect(quota.take('a')).toBeNull()
    expect(quota.take('c')).not.toBeNull()
  })

  it('gives the only place there is', () => {
    const quota = createQuota({ perKey: 5, inAll: 1 })
    expect(quota.take('a')).not.toBeNull()
    expect(quota.take('a')).toBeNull()
  })

  it('takes a place back once, even if it is given back twice', () => {
    const quota = createQuota({ perKey: 1, inAll: 2 })
    const place = quota.take('a')!
    quota.take('b')
    place[Symbol.dispose]()
    place[Symbol.dispose]()
    expect(quota.used).toBe(1)
    expect(quota.take('a')).not.toBeNull()
    expect(quota.take('c')).toBeNull()
  })
})
