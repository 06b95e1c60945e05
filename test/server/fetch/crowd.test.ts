// When fetches are a crowd: many large bodies from quick origins in a busy process, and nothing less.
import { describe, expect, it } from 'vitest'
import { type Crowd, createCrowds } from '../../../server/fetch/crowd.ts'

const MiB = 1024 ** 2

/** Many fetches have ended, all alike. */
function crowdAfter(bytes: number, tookMs: number, isBusy = true): Crowd {
  const crowd = createCrowds(() => isBusy)()
  for (let n = 0; n < 100; n++) crowd.ended(bytes, tookMs)
  return crowd
}

describe('a crowd', () => {
  it('is four quick bodies of 1 MiB in a busy process, and not three', () => {
    const crowd = crowdAfter(1.01 * MiB, 10)
    expect([3, 4, 32].map(crowd.isEnough)).toEqual([false, true, true])
  })

  it('is more of smaller ones', () => {
    const crowd = crowdAfter(MiB / 4, 10)
    expect([15, 17].map(crowd.isEnough)).toEqual([false, true])
  })

  it.each<[string, Crowd]>([
    ['the process has time left', crowdAfter(MiB, 10, false)],
    ['origins are slow', crowdAfter(MiB, 1_000)],
    ['bodies are small', crowdAfter(10_000, 1)],
    ['nothing is known yet', createCrowds(() => true)()],
  ])('is none where %s', (_, crowd) => {
    expect(crowd.isEnough(32)).toBe(false)
  })

  it('is none where those under way do not end, whatever came before', () => {
    let nowMs = 0
    const crowd = createCrowds(() => true, { monotonicMs: () => nowMs })()
    for (let n = 0; n < 100; n++) crowd.ended(MiB, 10)
    nowMs = 99
    expect(crowd.isEnough(32)).toBe(true)
    nowMs = 100
    expect(crowd.isEnough(32)).toBe(false)
    // One more at a time.
    crowd.started()
    expect(crowd.isEnough(33)).toBe(true)
    nowMs = 200
    expect(crowd.isEnough(33)).toBe(false)
  })

  it('is judged by what came last', () => {
    const crowd = crowdAfter(10_000, 1)
    for (let n = 0; n < 20; n++) crowd.ended(MiB, 10)
    expect(crowd.isEnough(32)).toBe(true)
    for (let n = 0; n < 40; n++) crowd.ended(0, 1)
    expect(crowd.isEnough(32)).toBe(false)
  })

  it('of a new client is judged by what all brought, until it has brought something itself', () => {
    const open = createCrowds(() => true)
    const [quick, slow] = [open(), open()]
    for (let n = 0; n < 100; n++) quick.ended(MiB, 10)
    for (let n = 0; n < 40; n++) slow.ended(10_000, 100)
    expect([quick.isEnough(32), slow.isEnough(32)]).toEqual([true, false])
    for (let n = 0; n < 40; n++) quick.ended(MiB, 10)
    const late = open()
    late.started()
    expect(late.isEnough(32)).toBe(true)
    for (let n = 0; n < 40; n++) late.ended(10_000, 100)
    expect([quick.isEnough(32), late.isEnough(32)]).toEqual([true, false])
  })

  it('is judged by no single body that goes on for hours', () => {
    const crowd = crowdAfter(10_000, 1)
    crowd.ended(1_000 * MiB, 3_600_000)
    // As if it had been one of 4 MiB, at its rate.
    for (let n = 0; n < 40; n++) crowd.ended(MiB, 10)
    expect(crowd.isEnough(32)).toBe(true)
  })
})
