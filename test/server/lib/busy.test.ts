// Whether the loop is seen to have time left.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createBusyMeter } from '../../../server/lib/busy.ts'

function work(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

it('is busy while it works, not while it waits, and until that is known', async () => {
  const isBusy = createBusyMeter()
  expect(isBusy()).toBe(true)
  await sleep(100)
  expect(isBusy()).toBe(false)
  work(100)
  // The count is of whole turns.
  await sleep(0)
  expect(isBusy()).toBe(true)
  await sleep(100)
  expect(isBusy()).toBe(false)
})

it('is busy, for all that is known, where nobody has looked for long', async () => {
  const isBusy = createBusyMeter()
  await sleep(300)
  expect(isBusy()).toBe(true)
  await sleep(100)
  expect(isBusy()).toBe(false)
})
