// When fetches are throttled: many large bodies from quick origins in a busy process, and nothing less.
import { describe, expect, it } from 'vitest'
import { createThrottles, type Throttle } from '../../../server/fetch/throttle.ts'

const MiB = 1024 ** 2

/** Many fetches have ended, all alike. */
function throttleAfter(bytes: number, tookMs: number, isBusy = true): Throttle {
  // Without a clock that stands still, any throttle would be over by the time it is looked at.
  const throttle = createThrottles(() => isBusy, { monotonicMs: () => 0 })()
  for (let n = 0; n < 100; n++) throttle.ended(bytes, tookMs)
  return throttle
}

describe('a throttle', () => {
  it('holds more back from four quick bodies of 1 MiB on in a busy process, and not from three', () => {
    const throttle = throttleAfter(1.01 * MiB, 10)
    expect([3, 4, 32].map(throttle.isEnough)).toEqual([false, true, true])
  })

  it('lets more of smaller ones in', () => {
    const throttle = throttleAfter(MiB / 4, 10)
    expect([15, 17].map(throttle.isEnough)).toEqual([false, true])
  })

  it.each<[string, Throttle]>([
    ['the process has time left', throttleAfter(MiB, 10, false)],
    ['origins are slow', throttleAfter(MiB, 1_000)],
    ['bodies are small', throttleAfter(10_000, 1)],
    ['nothing is known yet', createThrottles(() => true, { monotonicMs: () => 0 })()],
  ])('lets all in if %s', (_, throttle) => {
    expect(throttle.isEnough(32)).toBe(false)
  })

  it('lets one more in whenever none has ended for long, whatever came before', () => {
    let nowMs = 0
    const throttle = createThrottles(() => true, { monotonicMs: () => nowMs })()
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

  it('judges by what came last', () => {
    const throttle = throttleAfter(10_000, 1)
    for (let n = 0; n < 20; n++) throttle.ended(MiB, 10)
    expect(throttle.isEnough(32)).toBe(true)
    for (let n = 0; n < 40; n++) throttle.ended(0, 1)
    expect(throttle.isEnough(32)).toBe(false)
  })

  it('of a new client judges by what all brought, until that client has brought something itself', () => {
    const open = createThrottles(() => true)
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

  it('judges by no single body that goes on for hours', () => {
    const throttle = throttleAfter(10_000, 1)
    throttle.ended(1_000 * MiB, 3_600_000)
    // As if it had been one of 4 MiB, at its rate.
    for (let n = 0; n < 40; n++) throttle.ended(MiB, 10)
    expect(throttle.isEnough(32)).toBe(true)
  })
})
