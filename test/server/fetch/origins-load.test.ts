// The load on origins, what one bad origin costs the others, and that nothing is left of any of them in the end.
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { type EntryFailureCode, entryFailures } from '#contracts/failures.ts'
import * as behave from '../../support/behaviours.ts'
import { startBlackhole } from '../../support/blackhole.ts'
import { openHouse } from '../../support/building.ts'
import type { Behaviour } from '../../support/exchange.ts'
import { type Fetched, startFetching } from '../../support/fetching.ts'
import { bodyOf, type Origin, startOrigin } from '../../support/origin.ts'
import { until } from '../../support/wait.ts'

const body = bodyOf(100_000, 'file')

function codeOf({ outcome }: Pick<Fetched, 'outcome'>): string {
  return outcome.ok ? 'ok' : outcome.code
}

const hosts = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4']

it('one archive sends an origin no more than 32 requests at a time, and all origins no more than 96', async () => {
  await using stack = new AsyncDisposableStack()
  const origins: Origin[] = []
  for (const host of hosts) origins.push(stack.use(await startOrigin({ host })))
  const fetching = stack.use(startFetching())
  const gate = behave.gate()
  for (const origin of origins) origin.serve('/bytes*', gate.behaviour)
  const lane = fetching.fetcher.openLane({ mayStart: () => true })
  const fetched = Array.from({ length: 480 }, (_, index) =>
    fetching.fetch(`${origins[index % 4]!.url}/bytes/100/${index}`, { lane, index }),
  )
  await gate.waitFor(96)
  // Further requests would come within this time.
  await sleep(200)
  expect(gate.waiting).toBe(96)
  for (const origin of origins) expect(origin.maxActive).toBeLessThanOrEqual(32)
  gate.open()
  expect(new Set((await Promise.all(fetched)).map(codeOf))).toEqual(new Set(['ok']))
  for (const origin of origins) expect(origin.maxActive).toBeLessThanOrEqual(32)
})

it('redirects put no more load on their destination than direct entries would', async () => {
  await using stack = new AsyncDisposableStack()
  const target = stack.use(await startOrigin())
  const fetching = stack.use(startFetching({ limits: { headersTimeoutMs: 8_000 } }))
  const gate = behave.gate(behave.bytes(body))
  const to = target.serve('/to', gate.behaviour)
  const from: string[] = []
  for (const host of hosts.slice(1))
    from.push(stack.use(await startOrigin({ host })).serve('/from', behave.redirect(to)))
  const fetched = Array.from({ length: 90 }, (_, index) => fetching.fetch(from[index % 3]!, { index }))
  await gate.waitFor(32)
  await sleep(200)
  expect(target.maxActive).toBe(32)
  gate.open()
  expect(new Set((await Promise.all(fetched)).map(codeOf))).toEqual(new Set(['ok']))
  expect(target.maxActive).toBe(32)
})

it('time that a redirect waits for a connection does not count as time for its answer', async () => {
  await using target = await startOrigin()
  await using origin = await startOrigin({ host: '127.0.0.2' })
  await using fetching = startFetching({ maxFetchesPerOrigin: 4, limits: { headersTimeoutMs: 1_500 } })
  const to = target.serve('/to', behave.delayed(900, behave.bytes(body)))
  const from = origin.serve('/from', behave.redirect(to))
  // Each origin has four places. Redirects have to share those of their destination with direct entries.
  const direct = Array.from({ length: 4 }, (_, index) => fetching.fetch(to, { index }))
  const led = Array.from({ length: 4 }, (_, index) => fetching.fetch(from, { index }))
  for (const { outcome } of await Promise.all([...direct, ...led]))
    expect(outcome).toMatchObject({ ok: true, attempts: 1 })
  expect(target.maxActive).toBe(4)
})

it('an origin that never answers costs other origins no more than the places that it holds', async () => {
  await using dead = await startOrigin({ host: '127.0.0.2' })
  await using origin = await startOrigin()
  await using fetching = startFetching({ maxFetches: 8, maxFetchesPerOrigin: 4 })
  const lane = fetching.fetcher.openLane({ mayStart: () => true })
  const stalled = dead.serve('/stalled', behave.stallBeforeHeaders())
  for (let index = 0; index < 50; index++) void fetching.fetch(stalled, { lane, index })
  const sound = Array.from({ length: 50 }, (_, n) =>
    fetching.fetch(`${origin.url}/bytes/100/${n}`, { lane, index: 50 + n }),
  )
  expect(new Set((await Promise.all(sound)).map(codeOf))).toEqual(new Set(['ok']))
  expect(dead.maxActive).toBe(4)
  lane.close()
})

/** A fault for every failure code that an origin can cause. */
function faults(
  origin: Origin,
  other: { refused: number; hole: number; tls: string },
): Record<EntryFailureCode, string> {
  const serve = (path: string, behaviour: Behaviour) => origin.serve(`/${path}`, behaviour)
  const unvalidated = { body, headers: { etag: undefined } }
  const encoded = { 'content-encoding': 'gzip' }
  return {
    BAD_URL: 'ftp://127.0.0.1/file',
    FORBIDDEN_TARGET: serve('out', behave.redirect('http://10.0.0.1/')),
    NAME_NOT_RESOLVED: 'http://nowhere.test/',
    CONNECT_FAILED: `http://127.0.0.1:${other.refused}/`,
    CONNECT_TIMEOUT: `http://127.0.0.1:${other.hole}/`,
    TLS_ERROR: `${other.tls}/bytes/1/x`,
    HEADERS_TIMEOUT: serve('silent', behave.stallBeforeHeaders()),
    BODY_TOO_SLOW: serve('stalled', behave.stallAfter(1_000, unvalidated)),
    ENTRY_TIMEOUT: serve('patient', behave.drip(1_000, 50)),
    HTTP_STATUS: serve('missing', behave.status(404)),
    TOO_MANY_REDIRECTS: serve('loop', behave.redirectLoop()),
    BAD_RESPONSE: serve('garbage', behave.garbage()),
    BODY_TRUNCATED: serve('cut', behave.resetAfter(1_000, unvalidated)),
    SOURCE_CHANGED: serve('changing', behave.lying206(body, 'etag')),
    BAD_ENCODING: serve('damaged', behave.bytes(gzipSync(body).subarray(0, -1), encoded)),
    ENTRY_TOO_LARGE: serve('bomb', behave.bytes(gzipSync(Buffer.alloc(20_000_000)), encoded)),
  }
}

async function closedPort(): Promise<number> {
  await using origin = await startOrigin()
  return origin.port
}

/** Answers lookups itself, so that nothing leaves the machine. */
const unresolved = (_: string, __: object, callback: (error: NodeJS.ErrnoException, addresses: []) => void) =>
  callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), [])

/** undici's clock for connections ticks twice a second, so the next longer deadline must be much longer. */
const limits = { headersTimeoutMs: 2_000, idleTimeoutMs: 600, entryTimeoutMs: 6_000 }

it('a real origin can cause every failure of the contract, and none of them harms another entry', async () => {
  await using stack = new AsyncDisposableStack()
  const origin = stack.use(await startOrigin())
  const stranger = stack.use(await startOrigin({ tls: 'self-signed' }))
  const hole = stack.use(await startBlackhole())
  const house = stack.use(await openHouse({ limits, connectTimeoutMs: 400, resolve: unresolved }))
  const expected = faults(origin, { refused: await closedPort(), hole: hole.port, tls: stranger.url })
  const codes = Object.keys(entryFailures) as EntryFailureCode[]
  expect(Object.keys(expected).sort()).toEqual([...codes].sort())

  const sound = codes.map((code) => `${origin.url}/bytes/70000/${code}`)
  const entries = codes.flatMap((code, n) => [expected[code], sound[n]!])
  const build = await house.make(entries)
  const failed = await house.facts(build.archiveId, 'entry-failed')
  expect(Object.fromEntries(failed.map(({ index, code }) => [codes[index / 2], code]))).toEqual(
    Object.fromEntries(codes.map((code) => [code, code])),
  )
  const members = await house.zip(build.archiveId)
  expect(members.map(({ name }) => name)).toEqual(codes)
  for (const [n, { body: bytes }] of members.entries()) expect(bytes.equals(bodyOf(70_000, codes[n]!))).toBe(true)
})

it('an encoded file is decoded in the archive, keeps no checkpoint if it is large, and a compressed file stays compressed', async () => {
  await using origin = await startOrigin()
  await using house = await openHouse({ limits: { maxEntryBytes: 2 ** 30 } })
  const large = Buffer.alloc(20_000_000, bodyOf(30_000, 'large'))
  const encoded = (plain: Buffer) => behave.bytes(gzipSync(plain), { 'content-encoding': 'gzip' })
  const build = await house.make([
    origin.serve('/small.txt', encoded(body)),
    origin.serve('/large.bin', encoded(large)),
    origin.serve('/small.tar.gz', encoded(body)),
  ])
  const members = await house.zip(build.archiveId)
  expect(members.map(({ name }) => name)).toEqual(['small.txt', 'large.bin', 'small.tar.gz'])
  for (const [n, expected] of [body, large, gzipSync(body)].entries()) {
    expect(members[n]!.body.equals(expected)).toBe(true)
  }
  expect(await house.facts(build.archiveId, 'entry-begun')).toEqual([])
})

/** Runs all faults at once, some to the end and some cut off. */
async function series(): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const origin = stack.use(await startOrigin())
  const stranger = stack.use(await startOrigin({ tls: 'self-signed' }))
  const hole = stack.use(await startBlackhole())
  const fetching = stack.use(
    startFetching({
      limits: { ...limits, headersTimeoutMs: 600, entryTimeoutMs: 2_000 },
      connectTimeoutMs: 400,
      resolve: unresolved,
    }),
  )
  const { BAD_URL: _, ...urls } = faults(origin, { refused: await closedPort(), hole: hole.port, tls: stranger.url })
  const packed = gzipSync(body)
  const more = [
    origin.serve('/endless', behave.endless()),
    origin.serve('/endless-3xx', behave.endless3xxBody('/bytes/10/x')),
    origin.serve('/headers', behave.headerBomb()),
    origin.serve('/interim', behave.flood1xx(2_000)),
    origin.serve('/encoded', behave.bytes(packed, { 'content-encoding': 'gzip' })),
    origin.serve('/encoded-cut', behave.resetAfter(9_000, { body: packed, headers: { 'content-encoding': 'gzip' } })),
    origin.serve('/again', behave.sequence(behave.resetAfter(40_000, { body }), behave.bytes(body))),
  ]
  const all = [...Object.values(urls), ...more]
  const outcomes = await Promise.all(all.map((url) => fetching.fetch(url)))
  expect(outcomes).toHaveLength(all.length)
  await until(() => origin.activeRequests === 0, { what: 'the origin to have nothing to do' })

  // The same again, but ended in the middle, and with sinks that never become ready.
  const lane = fetching.fetcher.openLane({ mayStart: () => true })
  const sink = { begin: () => {}, write: () => false, whenReady: () => {} }
  for (const [index, url] of all.entries()) {
    lane.fetch({ index, url: new URL(url), sink, done: () => {} })
  }
  await sleep(150)
  lane.close()
}

it('all this leaves no socket, descriptor, timer or decoder behind', async () => {
  const held = () => {
    const descriptors = readdirSync('/proc/self/fd').length
    return JSON.stringify([descriptors, process.getActiveResourcesInfo().sort()])
  }
  /** Waits until the held resources stay the same, because some end a few turns later. */
  const settled = async () => {
    let last = ''
    let times = 0
    return until(
      () => {
        const now = held()
        times = now === last ? times + 1 : 0
        last = now
        // A dial that nobody waits for any more ends at its own deadline.
        return times >= 10 && !now.includes('ConnectWrap') && now
      },
      { everyMs: 50, timeoutMs: 15_000, what: 'descriptors and timers to settle' },
    )
  }
  // The first run opens what a process keeps after its first use.
  await series()
  const before = await settled()
  for (let n = 0; n < 2; n++) await series()
  await until(() => held() === before, { timeoutMs: 15_000, everyMs: 50, what: `only ${before} to be held` }).catch(
    () => {},
  )
  expect(await settled()).toBe(before)
  // Shows that a leak would have been found.
  const leak = createServer().listen(0, '127.0.0.1')
  await sleep(50)
  expect(held()).not.toBe(before)
  leak.close()
}, 90_000)
