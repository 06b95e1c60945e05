// The dry run against real origins: it predicts what a build then makes, and fetches nothing.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ArchivePlan } from '#contracts/api.ts'
import type { EntryInput, PlanArchiveInput } from '#contracts/archive.ts'
import { Refusal } from '#contracts/failures.ts'
import { createPlanner, type PlannerOptions } from '../../../server/archives/plan.ts'
import { parseAllowList } from '../../../server/fetch/address.ts'
import { createQuota } from '../../../server/lib/quota.ts'
import {
  bytes,
  closeAtOnce,
  delayed,
  hugeLength,
  redirect,
  redirectLoop,
  stallBeforeHeaders,
  status,
} from '../../support/behaviours.ts'
import { openHouse } from '../../support/building.ts'
import { type FetchingOptions, startFetching } from '../../support/fetching.ts'
import { bodyOf, type Origin, startOrigin } from '../../support/origin.ts'
import { until } from '../../support/wait.ts'

let stack: AsyncDisposableStack
let origin: Origin
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  origin = stack.use(await startOrigin())
})
afterEach(() => stack.disposeAsync())

const ALLOW = '127.0.0.0/8'
const client = { principal: '', address: '192.0.2.1' }
const never = new AbortController().signal

function openPlanner(options: Partial<PlannerOptions> = {}, fetching: FetchingOptions = {}) {
  const { fetcher } = stack.use(startFetching({ allow: ALLOW, ...fetching }))
  const policy = { allowedPorts: new Set([80, 443]), allow: parseAllowList(ALLOW) }
  const plan = createPlanner({ probe: fetcher.probe, policy, plans: createQuota({ perKey: 2, inAll: 3 }), ...options })
  return (input: PlanArchiveInput, caller = client, signal = never) => plan(input, caller, signal)
}

const namesOf = ({ entries }: ArchivePlan) => entries.map(({ name }) => name)
const codesOf = ({ entries }: ArchivePlan) => entries.map(({ failure }) => failure?.code ?? null)
const served = (path: string, size: number, headers = {}) => origin.serve(path, bytes(bodyOf(size, path), headers))

/** Entries whose names are duplicate, from headers, from redirects, unsafe, or asked for, with failures in between. */
function manyKinds(): EntryInput[] {
  served('/moved/to.bin', 700)
  return [
    served('/a.bin', 10),
    served('/other/a.bin', 20),
    'no url',
    served('/disposed', 30, { 'content-disposition': 'attachment; filename="..\\\\evil: name.txt"' }),
    { url: served('/missing.bin', 0).replace('missing', 'gone'), name: 'taken/by nobody.bin' },
    served('/typed', 0, { 'content-type': 'image/png' }),
    origin.serve('/from', redirect('/moved/to.bin')),
    { url: served('/named', 50), name: 'taken/by nobody.bin' },
    { url: served('/named-too', 60), name: 'A.BIN' },
    { url: served('/deep', 70_000), name: '/etc/../\u202etxt.exe' },
    'http://10.1.2.3/secret',
    served('/', 5),
    origin.serve('/elsewhere', redirect('http://10.1.2.3/')),
    origin.serve('/round', redirectLoop()),
    origin.serve('/huge', hugeLength(2 ** 40)),
    served('/a.bin?again', 40),
  ]
}

describe('a plan with HEAD', () => {
  it('predicts the names, sizes and failures of a build, and its size to the byte', async () => {
    const entries = manyKinds()
    origin.serve('/gone.bin', status(404))
    const plan = await openPlanner()({ entries, head: true })
    // What answers 404 to HEAD is asked for by GET once.
    expect(origin.requests.filter(({ method }) => method !== 'HEAD').map(({ path }) => path)).toEqual(['/gone.bin'])
    const asked = origin.requests.length

    const house = stack.use(await openHouse())
    const { archiveId } = await house.make(entries)
    expect(origin.requests.length).toBeGreaterThan(asked)
    const sealed = await house.facts(archiveId, 'entry-sealed')
    const failed = await house.facts(archiveId, 'entry-failed')
    expect(sealed.length).toBeGreaterThan(8)
    expect(failed.length).toBeGreaterThan(5)
    const whole = plan.entries.filter(({ failure }) => failure === null)
    expect(whole.map(({ index, name, sizeBytes }) => ({ index, name, sizeBytes }))).toEqual(
      sealed.map(({ index, name, sizeBytes }) => ({ index, name, sizeBytes })),
    )
    const others = plan.entries.filter(({ failure }) => failure !== null)
    expect(others.map(({ index, failure }) => [index, failure!.code, failure!.httpStatus])).toEqual(
      failed.toSorted((a, b) => a.index - b.index).map(({ index, code, httpStatus }) => [index, code, httpStatus]),
    )
    expect(others.every(({ name, sizeBytes }) => name === null && sizeBytes === null)).toBe(true)
    expect(plan.predictedBytes).toBe((await house.bytes(archiveId)).length)
    expect(plan).toMatchObject({ name: 'archive.zip', format: 'zip' })
  })

  it('keeps the name of the report free if a report is wanted, and then predicts no size', async () => {
    const entries = [{ url: served('/x', 10), name: 'sheaf-report.json' }]
    const plan = openPlanner()
    expect(namesOf(await plan({ entries, head: true, report: true }))).toEqual(['sheaf-report (2).json'])
    expect(namesOf(await plan({ entries, head: true }))).toEqual(['sheaf-report.json'])
    const sizes = [{}, { report: true }, { compression: 'deflate' }, { format: 'tar' }, { format: 'tar.gz' }] as const
    const predicted = await Promise.all(
      sizes.map(async (more) => (await openPlanner()({ entries, head: true, ...more })).predictedBytes),
    )
    expect(predicted).toEqual([expect.any(Number), null, null, null, null])
  })

  it.each([400, 403, 404, 405, 500, 501, 502])(
    'does not blame an entry whose origin answers only HEAD with %i',
    async (code) => {
      origin.serve('/here', redirect('/there/real.bin'))
      const whole = bytes(bodyOf(70_000, 'whole'))
      origin.serve('/there/real.bin', (exchange) =>
        (exchange.request.method === 'HEAD' ? status(code) : whole)(exchange),
      )
      const plan = await openPlanner()({ entries: [`${origin.url}/here`, served('/b.bin', 9)], head: true })
      expect(plan.entries).toEqual([
        { index: 0, name: 'real.bin', sizeBytes: 70_000, asked: true, failure: null },
        { index: 1, name: 'b.bin', sizeBytes: 9, asked: true, failure: null },
      ])
      expect(plan.predictedBytes).toBeGreaterThan(70_009)
    },
  )

  it('knows no size if the origin sends none, or the size of an encoding', async () => {
    const open = origin.serve('/open', status(200, { 'content-length': undefined, connection: 'close' }))
    const zipped = served('/zipped', 100, { 'content-encoding': 'gzip' })
    const { entries } = await openPlanner()({ entries: [open, zipped], head: true })
    expect(entries.map(({ sizeBytes, failure }) => [sizeBytes, failure])).toEqual([
      [null, null],
      [null, null],
    ])
  })

  it('reports an origin that does not answer with the code that a fetch would fail with', async () => {
    const resolve: FetchingOptions['resolve'] = (_, __, found) =>
      found(Object.assign(new Error('unknown'), { code: 'ENOTFOUND' }), [])
    const plan = openPlanner({}, { limits: { headersTimeoutMs: 200 }, resolve })
    const silent = [origin.serve('/mute', stallBeforeHeaders()), origin.serve('/shut', closeAtOnce())]
    const answer = await plan({ entries: [...silent, 'http://127.0.0.1:9/', 'http://nowhere.test/'], head: true })
    expect(codesOf(answer)).toEqual(['HEADERS_TIMEOUT', 'CONNECT_FAILED', 'CONNECT_FAILED', 'NAME_NOT_RESOLVED'])
    expect(answer.entries[0]).toMatchObject({ asked: true, failure: { retryable: true, httpStatus: null } })
    expect(origin.count('/shut')).toBe(1)
  })

  it('describes entries that it had no time to ask for by the manifest, and not as failures', async () => {
    const entries = [
      served('/a.bin', 10),
      origin.serve('/mute.bin', stallBeforeHeaders()),
      'no url',
      served('/a.bin', 10),
    ]
    const plan = await openPlanner(
      { deadlineMs: 300 },
      { limits: { headersTimeoutMs: 60_000 } },
    )({ entries, head: true })
    expect(plan.entries.map(({ name, asked }) => [name, asked])).toEqual([
      ['a.bin', true],
      ['mute.bin', false],
      [null, false],
      ['a (2).bin', true],
    ])
    expect(codesOf(plan)).toEqual([null, null, 'BAD_URL', null])
    expect(plan.predictedBytes).toBeNull()
    await until(() => origin.activeRequests === 0, { what: 'the request that was given up' })
  })

  it('asks for no more at a time than the budget allows, and for every entry in the end', async () => {
    origin.serve('/many/*', delayed(5, status(200, { 'content-length': '3' })))
    const entries = Array.from({ length: 600 }, (_, at) => `${origin.url}/many/${at}`)
    const plan = await openPlanner({}, { maxFetchesPerOrigin: 4 })({ entries, head: true })
    expect(plan.entries.every(({ asked, sizeBytes }) => asked && sizeBytes === 3)).toBe(true)
    expect(origin.requests).toHaveLength(600)
    expect(origin.maxActive).toBeLessThanOrEqual(4)
  })

  it('ends when its client leaves, and sends no more requests', async () => {
    const leaving = new AbortController()
    const entries = Array.from({ length: 50 }, (_, at) => origin.serve(`/mute/${at}`, stallBeforeHeaders()))
    const plan = openPlanner({}, { maxFetchesPerOrigin: 3 })
    const planning = plan({ entries, head: true }, client, leaving.signal)
    await until(() => origin.activeRequests === 3, { what: 'three requests' })
    leaving.abort()
    await expect(planning).rejects.toMatchObject({ name: 'AbortError' })
    await until(() => origin.activeRequests === 0, { what: 'their end' })
    expect(origin.requests).toHaveLength(3)
  })

  it('is refused as BUSY above a number of plans of one client, and of all, until one ends', async () => {
    const plan = openPlanner({ plans: createQuota({ perKey: 1, inAll: 2 }) })
    const leaving = new AbortController()
    const input = { entries: [origin.serve('/mute', stallBeforeHeaders())], head: true }
    const from = (address: string, signal = never) => plan(input, { principal: '', address }, signal)
    const running = [from('192.0.2.1', leaving.signal), from('192.0.2.2', leaving.signal)]
    for (const address of ['192.0.2.1', '192.0.2.3']) {
      const refused = await from(address).catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(Refusal)
      expect(refused).toMatchObject({ code: 'BUSY', retryAfterMs: expect.any(Number) })
    }
    leaving.abort()
    await Promise.allSettled(running)
    expect(namesOf(await plan({ entries: [served('/free', 1)], head: true }))).toEqual(['free'])
  })
})

describe('a plan without HEAD', () => {
  it('sends no requests, and describes entries by the manifest', async () => {
    const plan = await openPlanner()({ entries: manyKinds(), name: 'my: trip', format: 'tar' })
    expect(origin.requests).toEqual([])
    expect(origin.openSockets).toBe(0)
    expect(plan).toMatchObject({ name: 'my_ trip.tar', format: 'tar', predictedBytes: null })
    expect(namesOf(plan).slice(0, 5)).toEqual(['a.bin', 'a (2).bin', null, 'disposed', 'taken/by nobody.bin'])
    expect(plan.entries.every(({ asked, sizeBytes }) => !asked && sizeBytes === null)).toBe(true)
  })

  it.each([
    ['http://10.1.2.3/', 'FORBIDDEN_TARGET'],
    ['http://[::1]/', 'FORBIDDEN_TARGET'],
    ['http://[::ffff:127.0.0.1]/', 'FORBIDDEN_TARGET'],
    ['http://0x7f.1:81/', null],
    ['http://93.184.215.14/', null],
    ['http://93.184.215.14:25/', 'FORBIDDEN_TARGET'],
    ['https://a.example:443/', null],
    ['ftp://a.example/', 'BAD_URL'],
    ['http://me:secret@a.example/', 'BAD_URL'],
    ['', 'BAD_URL'],
  ])('judges %s as %s', async (url, code) => {
    expect(codesOf(await openPlanner()({ entries: [url] }))).toEqual([code])
  })

  it('refuses a host name only if its port is forbidden at every address', async () => {
    const judged = (allow: string) =>
      openPlanner({ policy: { allowedPorts: new Set([80]), allow: parseAllowList(allow) } })({
        entries: ['http://a.example/', 'http://a.example:9000/', 'https://a.example/'],
      })
    expect(codesOf(await judged(''))).toEqual([null, 'FORBIDDEN_TARGET', 'FORBIDDEN_TARGET'])
    expect(codesOf(await judged('10.0.0.1:9000'))).toEqual([null, null, 'FORBIDDEN_TARGET'])
    expect(codesOf(await judged('10.0.0.0/8'))).toEqual([null, null, null])
  })

  it('can have thousands of entries, and lets others have their turn meanwhile', async () => {
    const entries = Array.from({ length: 5_000 }, (_, at) => `http://a.example/same/${at % 7}.bin`)
    let turns = 0
    const counting = setInterval(() => turns++)
    const plan = await openPlanner()({ entries })
    clearInterval(counting)
    expect(new Set(namesOf(plan)).size).toBe(5_000)
    expect(turns).toBeGreaterThan(0)
  })
})
