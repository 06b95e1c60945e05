// A good guest: real origins that refuse what is too much, get everything fetched, and refuse little.
import { beforeAll, describe, expect, it } from 'vitest'
import * as behave from '../../../support/behaviours.ts'
import { openHouse } from '../../../support/building.ts'
import type { Behaviour } from '../../../support/exchange.ts'
import { type Fetched, startFetching } from '../../../support/fetching.ts'
import { type Origin, startOrigin } from '../../../support/origin.ts'
import { until } from '../../../support/wait.ts'

const limits = { maxAttempts: 4, entryTimeoutMs: 60_000 }
const small = behave.bytes(behave.bodyOf(1_000, 'small'))
const urlsOf = ({ url }: Origin, count: number) => Array.from({ length: count }, (_, n) => `${url}/file/${n}`)
const codeOf = ({ outcome }: Fetched) => (outcome.ok ? 'ok' : `${outcome.code} ${outcome.httpStatus}`)

/** Counts how often it is asked, and turns away everybody after a number of times. */
function counting(then: Behaviour, banAfter = Number.POSITIVE_INFINITY) {
  const state = { count: 0, isBanned: () => state.count >= banAfter, refusal: then }
  state.refusal = (exchange) => {
    state.count++
    return then(exchange)
  }
  return state
}

async function fetchAll(origin: Origin, behaviour: Behaviour, count: number, more = {}): Promise<string[]> {
  await using fetching = startFetching({ limits: { ...limits, ...more } })
  origin.serve('/file*', behaviour)
  const lane = fetching.fetcher.openLane({ mayStart: () => true })
  const all = await Promise.all(urlsOf(origin, count).map((url, index) => fetching.fetch(url, { lane, index })))
  return all.map(codeOf)
}

const allOk = (count: number) => Array.from({ length: count }, () => 'ok')

// One after the other, and not the first of the process: while everything is compiled, answers come late.
describe('an origin that takes', () => {
  beforeAll(async () => {
    await using origin = await startOrigin()
    await fetchAll(origin, small, 200)
  })

  it('four requests at a time gives all 40 files, and refuses few', async () => {
    await using origin = await startOrigin()
    const refused = counting(behave.status(503))
    const behaviour = behave.atMost(4, behave.delayed(200, small), refused.refusal)
    expect(await fetchAll(origin, behaviour, 40)).toEqual(allOk(40))
    expect(refused.count).toBeGreaterThan(0)
    expect(refused.count).toBeLessThanOrEqual(10)
  })

  it('ten requests a second, and bans whom it refuses 20 times, gives all 60 files', async () => {
    await using origin = await startOrigin()
    const refused = counting(behave.status(429, { 'retry-after': '1' }), 20)
    const windowed = behave.perWindow(10, 1_000, small, refused.refusal)
    const behaviour: Behaviour = (exchange) => (refused.isBanned() ? behave.status(403) : windowed)(exchange)
    expect(await fetchAll(origin, behaviour, 60)).toEqual(allOk(60))
    expect(refused.count).toBeGreaterThan(0)
  })

  it.for(['ratelimit-reset', 'x-ratelimit-reset'])('ten requests in 2 s, and says so by %s', async (field) => {
    await using origin = await startOrigin()
    const refused = counting((exchange) => {
      const at = field === 'ratelimit-reset' ? 2 : Math.ceil(Date.now() / 1_000) + 2
      return behave.status(429, { [field]: String(at) })(exchange)
    })
    expect(await fetchAll(origin, behave.perWindow(10, 2_000, small, refused.refusal), 25)).toEqual(allOk(25))
    expect(refused.count).toBeLessThanOrEqual(16)
  })

  it('one request after the other gives all 40, though most wait longer than headers may take', async () => {
    await using origin = await startOrigin()
    expect(await fetchAll(origin, behave.oneByOne(100, small), 40, { headersTimeoutMs: 1_500 })).toEqual(allOk(40))
    // No request was given up, so the origin has worked on nothing in vain.
    expect(origin.requests).toHaveLength(40)
  })

  it('few connections, and resets the others, gives all 30 files', async () => {
    await using origin = await startOrigin()
    const behaviour = behave.atMost(5, behave.delayed(100, small), behave.closeAtOnce())
    expect(await fetchAll(origin, behaviour, 30)).toEqual(allOk(30))
  })
})

describe.concurrent('an origin that refuses everything', () => {
  it('costs its files no longer than the attempts of one, and then those of all', async ({ expect }) => {
    await using origin = await startOrigin()
    const startedMs = performance.now()
    const codes = await fetchAll(origin, behave.status(503), 100, { maxAttempts: 3 })
    expect(new Set(codes)).toEqual(new Set(['HTTP_STATUS 503']))
    expect(performance.now() - startedMs).toBeLessThan(20_000)
    for (const { path } of origin.requests) expect(origin.count(path)).toBeLessThanOrEqual(3)
  })
})

describe.concurrent('a file that is refused', () => {
  it('while others of its origin are not, costs itself alone and soon', async ({ expect }) => {
    await using origin = await startOrigin()
    const broken = behave.status(503)
    const behaviour: Behaviour = (exchange) => (exchange.request.path === '/file/3' ? broken : small)(exchange)
    const startedMs = performance.now()
    const codes = await fetchAll(origin, behaviour, 20, { maxAttempts: 2 })
    expect(codes.filter((code) => code !== 'ok')).toEqual(['HTTP_STATUS 503'])
    expect(codes[3]).toBe('HTTP_STATUS 503')
    expect(performance.now() - startedMs).toBeLessThan(10_000)
  })

  it('for longer than it may take, fails at once', async ({ expect }) => {
    await using origin = await startOrigin()
    const behaviour = behave.status(429, { 'retry-after': '3600' })
    const startedMs = performance.now()
    expect(new Set(await fetchAll(origin, behaviour, 50))).toEqual(new Set(['HTTP_STATUS 429']))
    expect(performance.now() - startedMs).toBeLessThan(10_000)
    // Once some were told so, the others were not asked for.
    expect(origin.requests.length).toBeLessThan(20)
  })

  it.for([
    [520, {}],
    [524, {}],
    [529, {}],
    [599, {}],
    [202, { 'retry-after': '1' }],
    [403, { 'retry-after': '1' }],
    [404, { 'retry-after': '1' }],
  ] as const)('once with %i %j is asked for again', async ([code, headers], { expect }) => {
    await using origin = await startOrigin()
    expect(await fetchAll(origin, behave.sequence(behave.status(code, headers), small), 1)).toEqual(['ok'])
  })
})

describe.concurrent('a body that breaks off again and again', () => {
  const body = behave.bodyOf(2_000_000, 'large')
  const old = { 'last-modified': behave.LAST_MODIFIED, date: 'Thu, 02 Jan 2020 03:05:06 GMT' }

  it.for([
    ['a strong ETag', {}, 'ok'],
    ['a date that is a minute old', { etag: undefined, ...old }, 'ok'],
    ['a date of just now', { etag: undefined, ...old, date: 'Thu, 02 Jan 2020 03:04:30 GMT' }, 'BODY_TRUNCATED null'],
    ['a weak ETag', { etag: 'W/"1"', ...old }, 'BODY_TRUNCATED null'],
  ] as const)('under %s ends as it should, however few attempts may fail', async ([, headers, outcome], { expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ limits: { maxAttempts: 2, entryTimeoutMs: 30_000 } })
    const fetched = await fetching.fetch(origin.serve('/large', behave.resetAfter(300_000, { body, headers })))
    expect(codeOf(fetched)).toBe(outcome)
    if (outcome === 'ok') expect(fetched.body.equals(body)).toBe(true)
  })
})

describe.concurrent('an archive', () => {
  it('goes on with other origins while one asks for a pause, and reports whom it waits for', async ({ expect }) => {
    await using sleeper = await startOrigin()
    await using other = await startOrigin()
    await using house = await openHouse({ limits })
    // The first four are refused; whoever comes after the pause is not.
    const refusal = behave.status(503, { 'retry-after': '3' })
    let left = 4
    sleeper.serve('/file*', (exchange) => (left-- > 0 ? refusal : small)(exchange))
    other.serve('/file*', small)
    const { archiveId } = await house.accept([...urlsOf(sleeper, 600), ...urlsOf(other, 20)])
    const build = await house.start(archiveId)
    await until(() => other.requests.length === 20, { what: 'all of the other origin' })
    const { waiting } = build.report.progress()
    expect(waiting).toEqual([{ origin: sleeper.url, untilMs: expect.any(Number), entries: expect.any(Number) }])
    expect(waiting[0]!.untilMs).toBeLessThanOrEqual(3_000)
    expect(waiting[0]!.entries).toBeGreaterThan(256)
    await build.ended
    expect(build.outcome).toBe('sealed')
    expect(build.report.progress()).toMatchObject({ sealedEntries: 620, failedEntries: 0, waiting: [] })
  })

  it('asks an origin for no more at a time than its client wishes', async ({ expect }) => {
    await using origin = await startOrigin()
    await using house = await openHouse({ limits })
    origin.serve('/file*', behave.delayed(20, small))
    const build = await house.make(urlsOf(origin, 20), { maxPerOrigin: 2 })
    expect(build.outcome).toBe('sealed')
    expect(origin.maxActive).toBe(2)
  })
})

describe.concurrent('what an operator sets for a host', () => {
  const secret = { 'X-Api-Key': 'secret' }

  it('as headers goes to that host, and to no other one, also by redirects', async ({ expect }) => {
    await using here = await startOrigin()
    await using there = await startOrigin({ host: '127.0.0.2' })
    await using fetching = startFetching({ rules: [{ host: '127.0.0.1', headers: secret }] })
    const back = here.serve('/back', small)
    const away = there.serve('/away', behave.redirect(back))
    expect(codeOf(await fetching.fetch(here.serve('/from', behave.redirect(away))))).toBe('ok')
    expect(here.requests.map(({ headers }) => headers['x-api-key'])).toEqual(['secret', 'secret'])
    expect(there.requests.map(({ headers }) => headers['x-api-key'])).toEqual([undefined])
  })

  it('as forbidden is asked for nothing, also by redirects', async ({ expect }) => {
    await using here = await startOrigin()
    await using there = await startOrigin({ host: '127.0.0.2' })
    await using fetching = startFetching({ rules: [{ host: '127.0.0.2', forbidden: true }] })
    const away = there.serve('/away', small)
    expect(codeOf(await fetching.fetch(away))).toBe('FORBIDDEN_TARGET null')
    expect(codeOf(await fetching.fetch(here.serve('/from', behave.redirect(away))))).toBe('FORBIDDEN_TARGET null')
    expect(there.requests).toEqual([])
  })
})
