// Opens hostile clients by the hundred: connections that cost the server places, memory and time, and never read an answer.
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
  /** Key of an archive with many entries. */
  readonly archiveKey: string
  /** Path of a large archive. */
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

/** A websocket frame with this text. Its mask is zero, so that the text goes out as it is. */
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

/** What a hostile client of one sort sends. */
interface Sort {
  readonly first: (victim: Victim) => string | Buffer
  /** Sent after the first answer has come. */
  readonly afterwards?: (victim: Victim) => Buffer
  /** Sent once a second from then on. */
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

/** Opens `count` connections of one sort. They come from these addresses in turn. */
async function openCrowd(name: SortName, count: number, victim: Victim, from: readonly string[]): Promise<Crowd> {
  const sort: Sort = sorts[name]
  // All connections share one buffer: a crowd must not take more memory than its victim.
  const first = Buffer.from(sort.first(victim))
  const afterwards = sort.afterwards?.(victim)
  const sockets: Socket[] = []

  function open(localAddress: string): void {
    const socket = connect({ port: victim.port, host: '127.0.0.1', localAddress })
    sockets.push(socket)
    socket.on('error', () => {})
    socket.once('connect', () => {
      socket.write(first)
      // A paused socket reads nothing: only the kernel's own buffers still fill.
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

/** Asks for /healthz this many times, one after the other, each over a new connection. Returns how long each took. */
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

/** How many sockets the server holds, including those that listen. */
export const socketsOf = async (server: TestServer) =>
  (await server.descriptors()).filter((target) => target.startsWith('socket:')).length

export async function memoryOf({ pid }: TestServer): Promise<number> {
  return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))![1]) * 1024
}

export interface Siege {
  readonly health: readonly number[]
  readonly maxBytes: number
  /** How long it took to make and download an archive for an honest client. */
  readonly goodMs: number
}

const ENTRIES = 20_000
const LARGE_BYTES = 60_000_000
const WATCH_EVERY_MS = 50

/** Makes two complete archives for the crowds: one with many entries to list and watch, and a large one to download. */
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
  /** Connections of each sort. */
  readonly count: number
  /** Addresses they come from in turn. */
  readonly from: readonly string[]
  /** Runs after the honest client has been served, while the crowds are still there. */
  readonly before?: () => Promise<void>
}

/** Lets crowds of all these sorts in at once, and measures how an honest client is served meanwhile. */
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
