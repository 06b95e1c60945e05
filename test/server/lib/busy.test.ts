// Whether the loop is seen to have time left. The loop really works and waits; the time that is told is the test's.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createBusyMeter } from '../../../server/lib/busy.ts'

function work(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

function openMeter() {
  let nowMs = 0
  const isBusy = createBusyMeter({ monotonicMs: () => nowMs })
  function isBusyAfter(ms: number): boolean {
    nowMs += ms
    return isBusy()
  }
  return { isBusyAfter }
}

it('is busy while it works, not while it waits, and until that is known', async () => {
  const { isBusyAfter } = openMeter()
  expect(isBusyAfter(0)).toBe(true)
  await sleep(100)
  expect(isBusyAfter(100)).toBe(false)
  work(100)
  // The count is of whole turns.
  await sleep(0)
  expect(isBusyAfter(100)).toBe(true)
  await sleep(100)
  expect(isBusyAfter(100)).toBe(false)
})

it('says the same as before when it is asked again too soon', async () => {
  const { isBusyAfter } = openMeter()
  await sleep(100)
  expect(isBusyAfter(100)).toBe(false)
  work(100)
  await sleep(0)
  expect(isBusyAfter(19)).toBe(false)
  expect(isBusyAfter(1)).toBe(true)
})

it('is busy, for all that is known, when nobody has looked for long', async () => {
  const { isBusyAfter } = openMeter()
  await sleep(100)
  expect(isBusyAfter(201)).toBe(true)
  await sleep(100)
  expect(isBusyAfter(200)).toBe(false)
})
