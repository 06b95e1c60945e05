// If the loop has time left. The loop really works and waits, but the test sets the clock.
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

it('is busy while it works and until something is known, and not while it waits', async () => {
  const { isBusyAfter } = openMeter()
  expect(isBusyAfter(0)).toBe(true)
  await sleep(100)
  expect(isBusyAfter(100)).toBe(false)
  work(100)
  // Only whole turns are counted.
  await sleep(0)
  expect(isBusyAfter(100)).toBe(true)
  await sleep(100)
  expect(isBusyAfter(100)).toBe(false)
})

it('gives the same answer if it is asked again too soon', async () => {
  const { isBusyAfter } = openMeter()
  await sleep(100)
  expect(isBusyAfter(100)).toBe(false)
  work(100)
  await sleep(0)
  expect(isBusyAfter(19)).toBe(false)
  expect(isBusyAfter(1)).toBe(true)
})

it('counts as busy if nobody has asked for a long time', async () => {
  const { isBusyAfter } = openMeter()
  await sleep(100)
  expect(isBusyAfter(201)).toBe(true)
  await sleep(100)
  expect(isBusyAfter(200)).toBe(false)
})
