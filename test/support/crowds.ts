// Hostile clients by the hundred: connections that take places, memory and time of a server and give nothing for them.
import { readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { newArchiveKey } from '#contracts/client.ts'
import { call, follow } from '../contract/callers.ts'
import { ask } from './ask.ts'
import type { Origin } from './origin.ts'
import type { TestServer } from './server.ts'

interface Victim {
  readonly port: number
  /** Of an archive with many entries, and the path of a large one. */
  readonly archiveKey: string
  readonly href: string
}

interface Crowd {
  leave(): void
}

const MiB = 2 ** 20
const post = (path: string, length: number) =>
  `POST /trpc/${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`
const UPGRADE =
  'GET /trpc HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

/** Masked with zeros, so that its bytes are those of the text. */
function frame(text: string, declared = text.length): Buffer {
  const head = Buffer.alloc(14)
  head.set([0x81, 0xff])
  head.writeBigUInt64BE(BigInt(declared), 2)
  return Buffer.concat([head, Buffer.from(text)])
}

const list = ({ archiveKey }: Victim) => ({ json: { archiveKey, limit: 1000 } })

function batchOfLists(victim: Victim, calls: number): string {
  const inputs = Array.from({ length: calls }, () => list(victim))
  const body = JSON.stringify({ ...inputs })
  const paths = inputs.map(() => 'listEntries').join(',')
  return post(`${paths}?batch=1`, body.length) + body
}

function listOverSocket(victim: Victim, id: number): Buffer {
  return frame(JSON.stringify({ id, method: 'query', params: { path: 'listEntries', input: list(victim) } }))
}

/** What each of them sends; none reads. `drop`: a little more of it, once a second. */
interface Sort {
  readonly first: (victim: Victim) => string | Buffer
  readonly afterwards?: (victim: Victim) => Buffer
  readonly drop?: string
}

const sorts = {
  silent: { first: () => '' },
  'slow heads': { first: () => 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ', drop: 'x' },
  'slow bodies': { first: () => post('echo', 8 * MiB) + 'x'.repeat(60_000), drop: 'x' },
  'withheld last bytes': { first: () => post('echo', 4 * MiB) + 'x'.repeat(4 * MiB - 1) },
  'bodies of no length': {
    first: () =>
      `POST /trpc/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n` +
      `${(4 * MiB).toString(16)}\r\n${'x'.repeat(4 * MiB - 1)}`,
  },
  'half messages': { first: () => UPGRADE, afterwards: () => frame('x'.repeat(2 * MiB), 4 * MiB) },
  'half messages that drip': { first: () => UPGRADE, afterwards: () => frame('x'.repeat(60_000), 8 * MiB), drop: 'x' },
  'idle websockets': { first: () => UPGRADE },
  'unread batches': { first: (victim) => batchOfLists(victim, 32) },
  'unread requests': { first: () => 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(300) },
  'unread websockets': {
    first: () => UPGRADE,
    afterwards: (victim) => Buffer.concat(Array.from({ length: 250 }, (_, id) => listOverSocket(victim, id))),
  },
  'unread events': {
    first: () => UPGRADE,
    afterwards: ({ archiveKey }) =>
      Buffer.concat(
        Array.from({ length: 20 }, (_, id) => {
          const params = { path: 'watchArchive', input: { json: { archiveKey } } }
          return frame(JSON.stringify({ id, method: 'subscription', params }))
        }),
      ),
  },
  'unread errors': { first: () => UPGRADE, afterwards: () => Buffer.concat(new Array(4_000).fill(frame('{}'))) },
  'unread pings': { first: () => UPGRADE, afterwards: () => Buffer.concat(new Array(20_000).fill(frame('PING'))) },
  'unread pongs': {
    first: () => UPGRADE,
    afterwards: () => Buffer.alloc(20_000 * 6, Buffer.from([0x89, 0x80, 0, 0, 0, 0])),
  },
  'unread downloads': { first: ({ href }) => `GET ${href} HTTP/1.1\r\nHost: localhost\r\n\r\n` },
} satisfies Record<string, Sort>

export type SortName = keyof typeof sorts
export const sortNames = Object.keys(sorts) as SortName[]

/** Comes from several addresses in turn. */
async function openCrowd(name: SortName, count: number, victim: Victim, from: readonly string[]): Promise<Crowd> {
  const sort: Sort = sorts[name]
  // One for all of them: a crowd must not take more memory than its victim.
  const first = Buffer.from(sort.first(victim))
  const afterwards = sort.afterwards?.(victim)
  const sockets: Socket[] = []

  function open(localAddress: string): void {
    const socket = connect({ port: victim.port, host: '127.0.0.1', localAddress })
    sockets.push(socket)
    socket.on('error', () => {})
    socket.once('connect', () => {
      socket.write(first)
      // From then on it takes no more than the kernel does by itself.
      if (afterwards === undefined) socket.pause()
      else {
        socket.once('data', () => {
          socket.pause()
          socket.write(afterwards)
        })
      }
    })
  }

  for (let n = 0; n < count; n++) {
    open(from[n % from.length]!)
    if (n % 50 === 49) await sleep(20)
  }
  const dripping = setInterval(() => {
    for (const socket of sort.drop === undefined ? [] : sockets) if (socket.writable) socket.write(sort.drop!)
  }, 1_000)
  return {
    leave() {
      clearInterval(dripping)
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** How long each of so many calls for a sign of health takes, one after the other, over a connection of its own. */
export async function healthTimes(server: TestServer, times: number): Promise<number[]> {
  const took: number[] = []
  for (let n = 0; n < times; n++) {
    const startedAt = performance.now()
    const { status } = await ask(`${server.url}/healthz`)
    if (status !== 200) throw new Error(`healthz answers ${status}`)
    took.push(performance.now() - startedAt)
    await sleep(50)
  }
  return took
}

export const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!

/** Connections that the server holds, its listening ones included. */
export const socketsOf = async (server: TestServer) =>
  (await server.descriptors()).filter((target) => target.startsWith('socket:')).length

export async function memoryOf({ pid }: TestServer): Promise<number> {
  return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))![1]) * 1024
}

export interface Siege {
  readonly health: readonly number[]
  readonly maxBytes: number
  /** Until the archive of somebody who means well was made and downloaded. */
  readonly goodMs: number
}

const ENTRIES = 20_000
const LARGE_BYTES = 60_000_000
const WATCH_EVERY_MS = 50

/** Something to list, to watch and to download, which is there already. */
export async function prepare(server: TestServer, origin: Origin): Promise<Victim> {
  await using caller = call('http', server.url)
  const make = async (entries: string[]) => {
    const archiveKey = newArchiveKey()
    await caller.trpc.submitArchive.mutate({ archiveKey, entries })
    const { event } = (await caller.watch({ archiveKey }).ended).at(-1)!
    return { archiveKey, href: event.type === 'complete' ? event.href : '' }
  }
  const bad = Array.from({ length: ENTRIES - 1 }, (_, index) => `no url ${index} ${'x'.repeat(180)}`)
  const { archiveKey } = await make([`${origin.url}/bytes/10/x`, ...bad])
  const { href } = await make([`${origin.url}/bytes/${LARGE_BYTES}/large`])
  return { port: server.port, archiveKey, href }
}

export interface SiegeOptions {
  readonly names: readonly SortName[]
  /** Of each sort. */
  readonly count: number
  /** Addresses they come from, in turn. */
  readonly from: readonly string[]
  /** When all have been served who mean well, before the crowds leave. */
  readonly before?: () => Promise<void>
}

/** So many of each sort at once, while somebody who means well comes as well. */
export async function besiege(
  server: TestServer,
  origin: Origin,
  victim: Victim,
  { names, count, from, before }: SiegeOptions,
): Promise<Siege> {
  let maxBytes = 0
  const watching = setInterval(async () => {
    maxBytes = Math.max(maxBytes, await memoryOf(server).catch(() => 0))
  }, WATCH_EVERY_MS)
  const crowds: Crowd[] = []
  try {
    const coming = Promise.all(
      names.map(async (name) => {
        crowds.push(await openCrowd(name, count, victim, from))
      }),
    )
    const health = await healthTimes(server, 10)
    await coming
    const startedAt = performance.now()
    await using caller = call('websocket', server.url)
    const archiveKey = newArchiveKey()
    const entries = Array.from({ length: 20 }, (_, n) => `${origin.url}/bytes/100000/good-${n}`)
    const watched = follow(
      (handlers) => caller.trpc.createArchive.subscribe({ archiveKey, entries }, handlers),
      120_000,
    )
    const { event } = (await watched.ended).at(-1)!
    if (event.type !== 'complete') throw new Error(`the good archive ended as ${event.type}`)
    const { whole, body } = await ask(server.url + event.href)
    if (!whole || body.length !== event.sizeBytes) throw new Error('the good archive could not be downloaded')
    const goodMs = performance.now() - startedAt
    health.push(...(await healthTimes(server, 20)))
    await before?.()
    return { health, maxBytes, goodMs }
  } finally {
    clearInterval(watching)
    for (const crowd of crowds) crowd.leave()
  }
}
