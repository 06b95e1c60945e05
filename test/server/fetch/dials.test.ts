// A connection that is still being opened when its fetch ends keeps the place of the fetch until it is open or times out.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { startFetching } from '../../support/fetching.ts'
import { until } from '../../support/wait.ts'

it('looks up no more names at a time, however quickly fetches are begun and cancelled', async () => {
  const asked: string[] = []
  const resolve = (name: string) => void asked.push(name)
  await using fetching = startFetching({ resolve, connectTimeoutMs: 1_000, maxFetches: 4, maxInAll: 4 })
  const beginMany = (round: number) => {
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    for (let n = 0; n < 8; n++) void fetching.fetch(`http://slow-${round}-${n}.test/`, { lane, index: n })
    return lane
  }
  for (let round = 0; round < 5; round++) {
    const lane = beginMany(round)
    await sleep(50)
    lane.close()
  }
  expect(asked.length).toBe(4)
  beginMany(5)
  // Dials of cancelled fetches end at their own deadline.
  await until(() => asked.length === 8, { what: 'the next to be asked for', timeoutMs: 5_000 })
})
