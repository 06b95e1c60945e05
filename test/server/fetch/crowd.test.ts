// When fetches are a crowd: many large bodies from quick origins in a busy process, and nothing less.
import { describe, expect, it } from 'vitest'
import { type Crowd, createCrowd } from '../../../server/fetch/crowd.ts'

const MiB = 1024 ** 2

/** Many fetches have ended, all alike. */
function crowdAfter(bytes: number, tookMs: number, isBusy = true): Crowd {
  const crowd = createCrowd(() => isBusy)
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
    ['nothing is known yet', createCrowd(() => true)],
  ])('is none where %s', (_, crowd) => {
    expect(crowd.isEnough(32)).toBe(false)
  })

  it('is none where those under way do not end, whatever came before', () => {
    let nowMs = 0
    const crowd = createCrowd(() => true, { monotonicMs: () => nowMs })
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

  it('is judged by no single body that goes on for hours', () => {
    const crowd = crowdAfter(10_000, 1)
    crowd.ended(1_000 * MiB, 3_600_000)
    // As if it had been one of 4 MiB, at its rate.
    for (let n = 0; n < 40; n++) crowd.ended(MiB, 10)
    expect(crowd.isEnough(32)).toBe(true)
  })
})
