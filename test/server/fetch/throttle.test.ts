// Fetches are throttled only if a busy process gets many large bodies from quick origins.
import { describe, expect, it } from 'vitest'
import { createThrottles, type Throttle } from '../../../server/fetch/throttle.ts'

const MiB = 1024 ** 2

/** Makes a throttle that has seen many fetches like this one end. */
function throttleAfter(bytes: number, tookMs: number, isBusy = true): Throttle {
  // The clock stands still, because a throttle lasts only a moment.
  const throttle = createThrottles(() => isBusy, { monotonicMs: () => 0 })()
  for (let n = 0; n < 100; n++) throttle.ended(bytes, tookMs)
  return throttle
}

describe('a throttle', () => {
  it('holds back from the fourth quick body of 1 MiB on in a busy process', () => {
    const throttle = throttleAfter(1.01 * MiB, 10)
    expect([3, 4, 32].map(throttle.isEnough)).toEqual([false, true, true])
  })

  it('admits more bodies if they are smaller', () => {
    const throttle = throttleAfter(MiB / 4, 10)
    expect([15, 17].map(throttle.isEnough)).toEqual([false, true])
  })

  it.each<[string, Throttle]>([
    ['the process has time left', throttleAfter(MiB, 10, false)],
    ['origins are slow', throttleAfter(MiB, 1_000)],
    ['bodies are small', throttleAfter(10_000, 1)],
    ['nothing is known yet', createThrottles(() => true, { monotonicMs: () => 0 })()],
  ])('admits all if %s', (_, throttle) => {
    expect(throttle.isEnough(32)).toBe(false)
  })

  it('admits one more whenever none has ended for some time, whatever came before', () => {
    let nowMs = 0
    const throttle = createThrottles(() => true, { monotonicMs: () => nowMs })()
    for (let n = 0; n < 100; n++) throttle.ended(MiB, 10)
    nowMs = 99
    expect(throttle.isEnough(32)).toBe(true)
    nowMs = 100
    expect(throttle.isEnough(32)).toBe(false)
    // It admits one at a time.
    throttle.started()
    expect(throttle.isEnough(33)).toBe(true)
    nowMs = 200
    expect(throttle.isEnough(33)).toBe(false)
  })

  it('judges by the last bodies', () => {
    const throttle = throttleAfter(10_000, 1)
    for (let n = 0; n < 20; n++) throttle.ended(MiB, 10)
    expect(throttle.isEnough(32)).toBe(true)
    for (let n = 0; n < 40; n++) throttle.ended(0, 1)
    expect(throttle.isEnough(32)).toBe(false)
  })

  it('judges a new client by the bodies of all clients, until the client has bodies of its own', () => {
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

  it('is not dominated by a single body that goes on for hours', () => {
    const throttle = throttleAfter(10_000, 1)
    throttle.ended(1_000 * MiB, 3_600_000)
    // It counts like a body of 4 MiB at the same rate.
    for (let n = 0; n < 40; n++) throttle.ended(MiB, 10)
    expect(throttle.isEnough(32)).toBe(true)
  })
})
