// The wake-up: none is lost, whenever it comes.
import { describe, expect, it } from 'vitest'
import { createWake } from '../../../server/lib/wake.ts'

const never = new AbortController().signal

describe('a wake', () => {
  it('wakes every waiter that has not seen the version', async () => {
    const wake = createWake()
    const seen = wake.version
    const both = Promise.all([wake.passed(seen, never), wake.passed(seen, never)])
    wake.notify()
    await both
    expect(wake.version).toBe(seen + 1)
  })

  it('does not let a waiter sleep over what happened before it came', async () => {
    const wake = createWake()
    const seen = wake.version
    wake.notify()
    await wake.passed(seen, never)
  })

  it('lets a waiter go when its signal aborts', async () => {
    const wake = createWake()
    const abort = new AbortController()
    const waiting = wake.passed(wake.version, abort.signal)
    abort.abort()
    await waiting
    await wake.passed(wake.version, abort.signal)
  })
})
