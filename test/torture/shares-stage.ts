// Runs in a network namespace: a server, bad origins and name servers, a client that uses all of them, and an honest client.
import { mkdtemp, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { newArchiveKey } from '#contracts/client.ts'
import { ask, type Coming, open } from '../support/ask.ts'
import { bodyOf, bytes, delayed, drip, stallBeforeHeaders } from '../support/behaviours.ts'
import { median } from '../support/crowds.ts'
import { startNameServer } from '../support/name-server.ts'
import { type Origin, startOrigin } from '../support/origin.ts'
import { startServer, type TestServer } from '../support/server.ts'
import type { ShareRow } from './shares.ts'

interface Stage {
  readonly server: TestServer
  readonly origin: Origin
  readonly others: readonly Origin[]
}

type Send = (path: string, input: object) => Promise<{ href: string } | null>
type Way = (stage: Stage, send: Send, leaving: Coming[]) => Promise<void>

const VICTIM = '192.0.2.1'
const MEAN = '198.51.100.1'
const ROUNDS = 5
const FILES = 20

function senderOf({ server }: Stage, address: string): Send {
  return async (path, input) => {
    const headers = {
      'content-type': 'application/json',
      'sheaf-protocol': '1',
      'x-forwarded-for': address,
    }
    const body = JSON.stringify({ json: input })
    const answer = await ask(`${server.url}/trpc/${path}`, { method: 'POST', headers, body })
    const said = JSON.parse(answer.body.toString())
    return answer.status === 200 ? said.result.data.json : null
  }
}

/** Submits this many archives, each with this many entries. `urlOf` gives the URLs. */
async function submitMany(send: Send, archives: number, entries: number, urlOf: (n: number) => string, more = {}) {
  const hrefs: string[] = []
  for (let archive = 0; archive < archives; archive++) {
    const urls = Array.from({ length: entries }, (_, index) => urlOf(archive * entries + index))
    const archiveKey = newArchiveKey()
    const accepted = await send('submitArchive', { archiveKey, entries: urls, whenUnwatched: 'finish', ...more })
    if (accepted !== null) hrefs.push(accepted.href)
  }
  return hrefs
}

const dripping = drip(100, 100, { body: bodyOf(2 ** 20, 'drip') })
const LARGE_TEXT = Buffer.from('what is packed well takes long to be packed\n'.repeat(200_000))

const ways: Record<string, Way> = {
  'slow bodies of three origins': async ({ others }, send) => {
    const urls = others.map((origin) => origin.serve('/slow', dripping))
    await submitMany(send, 40, 200, (n) => `${urls[n % urls.length]!}?${n}`)
  },
  'slow bodies of the same origin': async ({ origin }, send) => {
    const url = origin.serve('/slow', dripping)
    await submitMany(send, 40, 200, (n) => `${url}?${n}`)
  },
  'heads that never come': async ({ others }, send) => {
    const url = others[0]!.serve('/mute', stallBeforeHeaders())
    await submitMany(send, 40, 200, (n) => `${url}?${n}`)
  },
  'names that nobody answers for': async (_, send) => {
    await submitMany(send, 40, 200, (n) => `http://silent-${n}.test/`)
  },
  'names of one label that nobody answers for': async (_, send) => {
    await submitMany(send, 40, 200, (n) => `http://silent-${n}/`)
  },
  'addresses that take no connection': async (_, send) => {
    await submitMany(send, 40, 200, (n) => `http://127.1.${n % 200}.${(n >> 8) % 200}:9/`)
  },
  'plans of mute origins': async ({ others }, send) => {
    const url = others[0]!.serve('/mute', stallBeforeHeaders())
    for (let n = 0; n < 64; n++) {
      const entries = Array.from({ length: 500 }, (_, index) => `${url}?${n}-${index}`)
      void send('planArchive', { entries, head: true }).catch(() => {})
    }
  },
  'text to be deflated': async ({ others }, send) => {
    const url = others[1]!.serve('/text', bytes(LARGE_TEXT, { 'content-type': 'text/plain' }))
    await submitMany(send, 40, 200, (n) => `${url}?${n}`, { compression: 'deflate' })
  },
  'encoded bodies that drip': async ({ others }, send) => {
    const body = gzipSync(bodyOf(3_000_000, 'gz'))
    const url = others[1]!.serve('/gz', drip(1_000, 50, { body, headers: { 'content-encoding': 'gzip' } }))
    await submitMany(send, 40, 200, (n) => `${url}?${n}`)
  },
  'downloads that wait': async ({ server, others }, send, leaving) => {
    const url = others[2]!.serve('/slow', dripping)
    const hrefs = await submitMany(send, 40, 20, (n) => `${url}?${n}`)
    for (const href of hrefs) {
      for (let n = 0; n < 10; n++) {
        const headers = { 'x-forwarded-for': MEAN }
        void open(server.url + href, { headers }).then(
          (coming) => leaving.push(coming),
          () => {},
        )
      }
    }
  },
}

/** Makes an archive as an honest client. Returns the time from the call until its last byte was read. */
async function makeGood({ origin, server }: Stage, send: Send): Promise<number> {
  const startedMs = performance.now()
  const entries = Array.from({ length: FILES }, (_, index) => `${origin.url}/good/${index}`)
  const accepted = await send('submitArchive', { archiveKey: newArchiveKey(), entries })
  if (accepted === null) throw new Error('the good archive was refused')
  const answer = await ask(server.url + accepted.href, { headers: { 'x-forwarded-for': VICTIM } })
  if (answer.status !== 200 || !answer.whole || answer.body.length < FILES * 50_000) {
    throw new Error(`the good archive: ${answer.status}, ${answer.body.length} bytes`)
  }
  return performance.now() - startedMs
}

async function timeOf(stage: Stage): Promise<number> {
  const send = senderOf(stage, VICTIM)
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) times.push(await makeGood(stage, send))
  return median(times)
}

async function play(name: string): Promise<ShareRow> {
  await using stack = new AsyncDisposableStack()
  const others = [await startOrigin(), await startOrigin(), await startOrigin()].map((each) => stack.use(each))
  const origin = stack.use(await startOrigin())
  for (let index = 0; index < FILES; index++) {
    origin.serve(`/good/${index}`, delayed(50, bytes(bodyOf(50_000, `good ${index}`))))
  }
  // The data lie in memory: how long a disk takes to sync while gigabytes are written is not what this proof is about.
  const dataDir = await mkdtemp('/dev/shm/sheaf-shares-')
  stack.defer(() => rm(dataDir, { recursive: true, force: true }))
  const env = { SHEAF_TRUST_PROXY: 'true', SHEAF_ALLOW_ADDRESSES: '127.0.0.0/8' }
  const server = stack.use(await startServer({ env, dataDir }))
  const stage = { server, origin, others }
  const leaving: Coming[] = []
  stack.defer(() => {
    for (const each of leaving) each.leave()
  })
  await timeOf(stage)
  const aloneMs = await timeOf(stage)
  await ways[name]!(stage, senderOf(stage, MEAN), leaving)
  await sleep(3_000)
  const besideMs = await timeOf(stage)
  await server.kill()
  return { way: name, aloneMs, besideMs }
}

await using _ = await startNameServer(() => ({ a: 'silent', aaaa: 'silent' }), 53)
const rows: ShareRow[] = []
for (const name of Object.keys(ways)) rows.push(await play(name))
process.stdout.write(`${JSON.stringify(rows)}\n`, () => process.exit(0))
