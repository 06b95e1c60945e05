// Connections that are being opened for a fetch that is over: they keep its place until they are open, or their time is over.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { startFetching } from '../../support/fetching.ts'
import { until } from '../../support/wait.ts'

it('however quickly fetches are begun and cancelled, no more names are asked for at a time', async () => {
  const asked: string[] = []
  const resolve = (name: string) => void asked.push(name)
  await using fetching = startFetching({ resolve, connectTimeoutMs: 1_000, maxFetches: 4, maxInAll: 4 })
  const beginMany = (round: number) => {
    const lane = fetching.fetcher.openLane(() => true)
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
  // The dials of those who are gone end by their own deadline.
  await until(() => asked.length === 8, { what: 'the next to be asked for', timeoutMs: 5_000 })
})
