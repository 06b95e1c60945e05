// No wake-up is lost, whenever it comes.
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createWake } from '../../../server/lib/wake.ts'

const never = new AbortController().signal

/** Resolves to true if the wait ends within some turns of the loop. */
const isAwake = (waiting: Promise<void>) => Promise.race([waiting.then(() => true), sleep(20).then(() => false)])

describe('a wake', () => {
  it('wakes every waiter that has not seen the version', async () => {
    const wake = createWake()
    const seen = wake.version
    const both = Promise.all([wake.passed(seen, never), wake.passed(seen, never)])
    wake.notify()
    await both
    expect(wake.version).toBe(seen + 1)
  })

  it('wakes a thousand in several turns of the loop, in their order, and nobody twice', async () => {
    const wake = createWake()
    const woken: number[] = []
    const waiting = Array.from({ length: 1000 }, (_, n) => wake.passed(0, never).then(() => woken.push(n)))
    wake.notify()
    await new Promise((resolve) => process.nextTick(resolve))
    expect(woken.length).toBeGreaterThan(0)
    expect(woken.length).toBeLessThan(100)
    // A waiter that has seen this version waits for the next one, which may come before all are awake.
    let early = true
    const next = wake.passed(1, never).then(() => expect(early).toBe(false))
    await Promise.all(waiting)
    expect(woken).toEqual(Array.from({ length: 1000 }, (_, n) => n))
    early = false
    wake.notify()
    await next
  })

  it('wakes a waiter at once if something happened before it began to wait', async () => {
    const wake = createWake()
    const seen = wake.version
    wake.notify()
    expect(await isAwake(wake.passed(seen, never))).toBe(true)
    expect(await isAwake(wake.passed(wake.version, never))).toBe(false)
  })

  it('ends a wait when its signal aborts', async () => {
    const wake = createWake()
    const abort = new AbortController()
    const waiting = wake.passed(wake.version, abort.signal)
    expect(await isAwake(waiting)).toBe(false)
    abort.abort()
    expect(await isAwake(waiting)).toBe(true)
    expect(await isAwake(wake.passed(wake.version, abort.signal))).toBe(true)
  })
})
