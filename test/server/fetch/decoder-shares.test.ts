// Origins that send encoded bodies very slowly: they do not hold up others, and each other only for a short time.
import { randomBytes } from 'node:crypto'
import { brotliCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import * as behave from '../../support/behaviours.ts'
import type { Behaviour } from '../../support/exchange.ts'
import { type Fetched, type Fetching, startFetching } from '../../support/fetching.ts'
import { type Origin, startOrigin } from '../../support/origin.ts'
import { until } from '../../support/wait.ts'

const headers = { 'content-encoding': 'br' }
const small = Buffer.from('a small body')
/** Too large to be collected whole, so it needs a permit. */
const large = randomBytes(300_000)

/** Sends `first` bytes, and then one now and then without an end. */
function drip(packed: Buffer, first: number): Behaviour {
  return async (exchange) => {
    await exchange.write('HTTP/1.1 200 OK\r\ncontent-encoding: br\r\nconnection: close\r\n\r\n')
    await exchange.write(packed.subarray(0, first))
    for (let at = first; ; at++) {
      await exchange.pause(20)
      await exchange.write(packed.subarray(at % packed.length, (at % packed.length) + 1))
    }
  }
}

const limits = {
  idleTimeoutMs: 60_000,
  headersTimeoutMs: 20_000,
  entryTimeoutMs: 120_000,
  minBytesPerSecond: 1,
  maxAttempts: 1,
}

function open(): Fetching {
  return startFetching({ limits, maxFetches: 200, maxFetchesPerOrigin: 200 })
}

/** Starts bodies that drip, all in one lane. Resolves when all are under way. */
async function dripping(
  { fetcher, fetch }: Fetching,
  origin: Origin,
  count: number,
  first: number,
): Promise<Promise<Fetched>[]> {
  const url = origin.serve('/drip', drip(brotliCompressSync(large), first))
  const lane = fetcher.openLane({ mayStart: () => true })
  const fetches = Array.from({ length: count }, (_, index) => fetch(url, { lane, index }))
  await until(() => origin.count('/drip') === count, { what: 'all of them to be asked for' })
  return fetches
}

describe.each([
  [8, 1_000],
  [40, 1_000],
  [8, 200_000],
  [40, 200_000],
])('%i bodies of one archive that drip after %i bytes', (count, first) => {
  it('leave room for bodies of other archives, large and small', async () => {
    await using origin = await startOrigin()
    await using fetching = open()
    await dripping(fetching, origin, count, first)
    const startedAt = performance.now()
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    const bodies = [small, large, small, large]
    const fetched = await Promise.all(
      bodies.map((body, index) =>
        fetching.fetch(origin.serve(`/${index}`, behave.bytes(brotliCompressSync(body), headers)), { lane, index }),
      ),
    )
    for (const [index, { outcome, body }] of fetched.entries()) {
      expect(outcome.ok).toBe(true)
      expect(body.equals(bodies[index]!)).toBe(true)
    }
    // That is before the first dripping body has to give up its permit.
    expect(performance.now() - startedAt).toBeLessThan(4_000)
  })
})

it('bodies that drip give up their permits if others wait, and otherwise keep them', async () => {
  await using origin = await startOrigin()
  await using fetching = open()
  const fetches = await dripping(fetching, origin, 4, 200_000)
  const ended: string[] = []
  for (const each of fetches) {
    void each.then(({ outcome }) => {
      ended.push(outcome.ok ? 'ok' : outcome.code)
    })
  }
  // Three have a permit and the fourth waits. They end one by one until nobody waits.
  await until(() => ended.length > 0, { what: 'the first to go', timeoutMs: 20_000 })
  expect(ended[0]).toBe('BODY_TOO_SLOW')
  const { promise: later, resolve } = Promise.withResolvers<void>()
  setTimeout(resolve, 7_000)
  await later
  expect(new Set(ended)).toEqual(new Set(['BODY_TOO_SLOW']))
  expect(ended.length).toBeLessThan(4)
}, 40_000)
