// When fetches are a throttle: many large bodies from quick origins in a busy process, and nothing less.
import { describe, expect, it } from 'vitest'
import { createThrottle, type Throttle } from '../../../server/fetch/throttle.ts'

const MiB = 1024 ** 2

/** Many fetches have ended, all alike. */
function throttleAfter(bytes: number, tookMs: number, isBusy = true): Throttle {
  const throttle = createThrottle(() => isBusy)
  for (let n = 0; n < 100; n++) throttle.ended(bytes, tookMs)
  return throttle
}

describe('a throttle', () => {
  it('is four quick bodies of 1 MiB in a busy process, and not three', () => {
    const throttle = throttleAfter(1.01 * MiB, 10)
    expect([3, 4, 32].map(throttle.isEnough)).toEqual([false, true, true])
  })

  it('is more of smaller ones', () => {
    const throttle = throttleAfter(MiB / 4, 10)
    expect([15, 17].map(throttle.isEnough)).toEqual([false, true])
  })

  it.each<[string, Throttle]>([
    ['the process has time left', throttleAfter(MiB, 10, false)],
    ['origins are slow', throttleAfter(MiB, 1_000)],
    ['bodies are small', throttleAfter(10_000, 1)],
    ['nothing is known yet', createThrottle(() => true)],
  ])('is none where %s', (_, throttle) => {
    expect(throttle.isEnough(32)).toBe(false)
  })

  it('is none where those under way do not end, whatever came before', () => {
    let nowMs = 0
    const throttle = createThrottle(() => true, { monotonicMs: () => nowMs })
    for (let n = 0; n < 100; n++) throttle.ended(MiB, 10)
    nowMs = 99
    expect(throttle.isEnough(32)).toBe(true)
    nowMs = 100
    expect(throttle.isEnough(32)).toBe(false)
    // One more at a time.
    throttle.started()
    expect(throttle.isEnough(33)).toBe(true)
    nowMs = 200
    expect(throttle.isEnough(33)).toBe(false)
  })

  it('is judged by what came last', () => {
    const throttle = throttleAfter(10_000, 1)
    for (let n = 0; n < 20; n++) throttle.ended(MiB, 10)
    expect(throttle.isEnough(32)).toBe(true)
    for (let n = 0; n < 40; n++) throttle.ended(0, 1)
    expect(throttle.isEnough(32)).toBe(false)
  })

  it('is judged by no single body that goes on for hours', () => {
    const throttle = throttleAfter(10_000, 1)
    throttle.ended(1_000 * MiB, 3_600_000)
    // As if it had been one of 4 MiB, at its rate.
    for (let n = 0; n < 40; n++) throttle.ended(MiB, 10)
    expect(throttle.isEnough(32)).toBe(true)
  })
})
