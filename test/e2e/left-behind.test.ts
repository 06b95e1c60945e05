// What clients leave behind: places, rows, bytes. Limits hold for concurrent calls and across restarts, and all is given back.
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import type { RefusalCode } from '#contracts/failures.ts'
import { type Answer, ask } from '../support/ask.ts'
import { gate, pathBytes, status } from '../support/behaviours.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { completed, eachTestItsWorld, spooled, watch } from './world.ts'

const world = eachTestItsWorld()
const MB = 1_000_000

interface Submission {
  readonly entries: readonly unknown[]
  readonly archiveKey?: string
  readonly whenUnwatched?: 'finish'
}

/** Sends a request as a client at this address, which a proxy header names. */
function post(server: TestServer, address: string, path: string, body: unknown): Promise<Answer> {
  const headers = { 'content-type': 'application/json', 'x-forwarded-for': address }
  return ask(`${server.url}/trpc/${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
}

const inputOf = ({ archiveKey = newArchiveKey(), ...input }: Submission) => ({ json: { archiveKey, ...input } })

/** Resolves to 'accepted' or to the code of the refusal. */
async function submit(server: TestServer, address: string, submission: Submission): Promise<'accepted' | RefusalCode> {
  return outcomeOf(JSON.parse((await post(server, address, 'submitArchive', inputOf(submission))).body.toString()))
}

function outcomeOf(answer: {
  result?: { data: { json: { type: 'accepted' } } }
  error?: { json: { data: { refusal: { code: RefusalCode } } } }
}): 'accepted' | RefusalCode {
  return answer.result?.data.json.type ?? answer.error!.json.data.refusal.code
}

async function journalBytes({ dataDir }: TestServer): Promise<number> {
  const sizes = ['journal.db', 'journal.db-wal'].map((file) =>
    stat(join(dataDir, file)).then(
      ({ size }) => size,
      () => 0,
    ),
  )
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

const badUrls = (count: number) => Array.from({ length: count }, (_, index) => `no url ${index} ${'x'.repeat(150)}`)

describe('places of unfinished archives', () => {
  it('are taken before anything is awaited: of thirty-two calls at once, exactly as many succeed as there are places', async () => {
    const server = await world.start({
      SHEAF_MAX_ARCHIVES_PER_CLIENT: '2',
      SHEAF_MAX_UNFINISHED_ARCHIVES: '6',
      SHEAF_TRUST_PROXY: 'true',
    })
    const entries = [world.origin.serve('/held', gate().behaviour)]
    const batch = (address: string) => {
      const calls = Array.from({ length: 32 }, (_, index) => [index, inputOf({ entries })])
      const path = `${Array(32).fill('submitArchive').join(',')}?batch=1`
      return post(server, address, path, Object.fromEntries(calls))
    }
    const answers = await Promise.all(['192.0.2.1', '192.0.2.2'].map(batch))
    for (const { body } of answers) {
      const outcomes = (JSON.parse(body.toString()) as Parameters<typeof outcomeOf>[0][]).map(outcomeOf)
      expect(outcomes.filter((outcome) => outcome === 'accepted')).toHaveLength(2)
      expect(outcomes.filter((outcome) => outcome === 'BUSY')).toHaveLength(30)
    }
  })

  it('are given back if a submission fails or is already known', async () => {
    const server = await world.start({ SHEAF_MAX_ARCHIVES_PER_CLIENT: '1', SHEAF_TRUST_PROXY: 'true' })
    const held = gate(status(200, {}, 'at last'))
    const first = { archiveKey: newArchiveKey(), entries: [world.origin.serve('/held', held.behaviour)] }
    // Of five calls at once, one makes the archive and all are accepted.
    const same = await Promise.all(Array.from({ length: 5 }, () => submit(server, '192.0.2.1', first)))
    expect(same.filter((outcome) => outcome !== 'accepted' && outcome !== 'BUSY')).toEqual([])
    expect(await submit(server, '192.0.2.1', first)).toBe('accepted')
    expect(await submit(server, '192.0.2.1', { ...first, archiveKey: newArchiveKey() })).toBe('BUSY')
    held.open()
    const next = { entries: [`${world.origin.url}/bytes/10/x`] }
    await until(async () => (await submit(server, '192.0.2.1', next)) === 'accepted', { what: 'the place to be free' })
  })

  it('are still counted after the server was killed', async () => {
    const server = await world.start({ SHEAF_MAX_ARCHIVES_PER_CLIENT: '1', SHEAF_TRUST_PROXY: 'true' })
    const entries = [world.origin.serve('/held', gate().behaviour)]
    expect(await submit(server, '192.0.2.1', { entries, whenUnwatched: 'finish' })).toBe('accepted')
    await server.kill()
    await server.restart()
    expect(await submit(server, '192.0.2.1', { entries })).toBe('BUSY')
    expect(await submit(server, '192.0.2.2', { entries })).toBe('accepted')
  })
})

describe('the journal', () => {
  it('counts towards the limit of the disk, and gives back its space', async () => {
    const server = await world.start({
      SHEAF_SPOOL_MAX_BYTES: String(20 * MB),
      SHEAF_ABORTED_RETENTION_MS: '1000',
      SHEAF_RETENTION_MS: '2000',
    })
    const entries = badUrls(20_000)
    const outcomes: string[] = []
    for (let n = 0; n < 12; n++) outcomes.push(await submit(server, '', { entries }))
    expect(outcomes[0]).toBe('accepted')
    expect(outcomes).toContain('NO_SPACE')
    expect(new Set(outcomes)).toEqual(new Set(['accepted', 'NO_SPACE']))
    expect(await journalBytes(server)).toBeLessThan(40 * MB)
    await until(async () => (await journalBytes(server)) < 2 * MB, { what: 'the journal to shrink', timeoutMs: 20_000 })
    expect(await submit(server, '', { entries })).toBe('accepted')
  }, 60_000)

  it('cannot be filled by one client: others are still accepted', async () => {
    const server = await world.start({ SHEAF_JOURNAL_MAX_BYTES: String(24 * MB), SHEAF_TRUST_PROXY: 'true' })
    const entries = badUrls(10_000)
    const outcomes: string[] = []
    for (let n = 0; n < 12; n++) outcomes.push(await submit(server, '192.0.2.1', { entries }))
    expect(outcomes).toContain('NO_SPACE')
    expect(await submit(server, '192.0.2.2', { entries })).toBe('accepted')
  })
})

describe('bytes of one client', () => {
  it('are limited at any time: an archive that grows beyond the limit ends, and others go on', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_MAX_BYTES_PER_CLIENT: String(4 * MB), SHEAF_TRUST_PROXY: 'true' })
    const large = {
      archiveKey: newArchiveKey(),
      entries: Array.from({ length: 8 }, (_, n) => `${origin.url}/bytes/${MB}/${n}`),
    }
    const last = gate(pathBytes())
    large.entries.push(origin.serve('/bytes/1000/last', last.behaviour))
    expect(await submit(server, '192.0.2.1', large)).toBe('accepted')
    const end = watch(world.client(server.url).watchArchive(large.archiveKey)).end
    expect(await end).toMatchObject({ type: 'aborted', code: 'NO_SPACE' })
    await until(async () => (await spooled(server)).length === 0, { what: 'its bytes to be removed' })
    const fits = { archiveKey: newArchiveKey(), entries: [`${origin.url}/bytes/${3 * MB}/x`] }
    expect(await submit(server, '192.0.2.1', fits)).toBe('accepted')
    await completed(watch(world.client(server.url).watchArchive(fits.archiveKey)).end)
    // Complete archives also count until they expire, even after a restart.
    const more = { entries: [`${origin.url}/bytes/10/x`, 'x'.repeat(1.5 * MB)] }
    await server.kill()
    await server.restart()
    expect(await submit(server, '192.0.2.1', more)).toBe('NO_SPACE')
    expect(await submit(server, '192.0.2.2', more)).toBe('accepted')
  })

  it('are limited by the day, whatever became of them, even across a restart', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_MAX_BYTES_PER_CLIENT_A_DAY: String(4 * MB), SHEAF_TRUST_PROXY: 'true' })
    const first = { archiveKey: newArchiveKey(), entries: [`${origin.url}/bytes/${3 * MB}/x`] }
    expect(await submit(server, '192.0.2.1', first)).toBe('accepted')
    await completed(watch(world.client(server.url).watchArchive(first.archiveKey)).end)
    const second = { entries: ['x'.repeat(1.5 * MB)] }
    const refused = await post(server, '192.0.2.1', 'submitArchive', inputOf(second))
    expect(refused.status).toBe(429)
    const { refusal } = JSON.parse(refused.body.toString()).error.json.data
    expect(refusal).toMatchObject({ code: 'BUSY', retryable: true })
    expect(refusal.retryAfterMs).toBeGreaterThan(0)
    expect(refusal.retryAfterMs).toBeLessThanOrEqual(86_400_000)
    await server.stop()
    await server.restart()
    expect(await submit(server, '192.0.2.1', second)).toBe('BUSY')
    expect(await submit(server, '192.0.2.2', second)).toBe('accepted')
  })
})

it('forgets an aborted archive sooner than one that can be downloaded', async () => {
  const { origin } = world
  const server = await world.start({ SHEAF_ABORTED_RETENTION_MS: '300' })
  const good = { archiveKey: newArchiveKey(), entries: [`${origin.url}/bytes/10/x`] }
  const bad = { archiveKey: newArchiveKey(), entries: ['no url'] }
  expect(await submit(server, '', good)).toBe('accepted')
  expect(await submit(server, '', bad)).toBe('accepted')
  const listed = async (archiveKey: string) => (await post(server, '', 'listEntries', { json: { archiveKey } })).status
  await until(async () => (await listed(bad.archiveKey)) !== 200, { what: 'the failed one to be swept' })
  expect(await submit(server, '', bad)).toBe('GONE')
  expect(await listed(good.archiveKey)).toBe(200)
})
