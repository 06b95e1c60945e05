// Who may have a connection, whose connection makes way, and which are cut off. Uses real sockets.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSockets, type Sockets, type SocketsOptions } from '../../../server/http/sockets.ts'
import { until } from '../../support/wait.ts'

const SLOW_MS = 1_000
let server: Server
let port: number
let sockets: Sockets
let slow: Socket[]
const clients = new Set<Socket>()

beforeEach(async () => {
  server = createServer((socket) => {
    socket.on('error', () => {})
    sockets.accept(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
  slow = []
})

afterEach(async () => {
  for (const client of clients) client.destroy()
  clients.clear()
  for (const socket of sockets.open) socket.destroy()
  server.close()
  await once(server, 'close')
})

function limit(options: Partial<SocketsOptions>): void {
  sockets = createSockets({
    maxSockets: 100,
    maxPerClient: 100,
    slowReaderMs: SLOW_MS,
    onSlow: (socket) => slow.push(socket),
    ...options,
  })
}

interface Pair {
  client: Socket
  /** The server's side. Null if the connection was refused. */
  own: Socket | null
}

async function open(from = '127.0.0.1'): Promise<Pair> {
  const client = connect({ port, host: '127.0.0.1', localAddress: from }).on('error', () => {})
  clients.add(client)
  const [own] = (await once(server, 'connection')) as [Socket]
  return { client, own: sockets.open.has(own) ? own : null }
}

async function openAll(count: number, from?: string): Promise<Pair[]> {
  const pairs: Pair[] = []
  for (let n = 0; n < count; n++) pairs.push(await open(from))
  return pairs
}

const isOpen = ({ own }: Pair) => own !== null && sockets.open.has(own)
const opened = (pairs: Pair[]) => pairs.map(isOpen)

function busy(pairs: Pair[]): void {
  for (const { own } of pairs) if (own !== null) sockets.setBusy(own, 1)
}

describe('a place for a connection', () => {
  it('is made by closing the longest idle connection of the same client', async () => {
    limit({ maxPerClient: 3 })
    const [a, b, c] = (await openAll(3)) as [Pair, Pair, Pair]
    sockets.setBusy(a.own!, 1)
    sockets.setBusy(b.own!, 1)
    sockets.setBusy(b.own!, 0)
    const d = await open()
    expect(opened([a, b, c, d])).toEqual([true, true, false, true])
    const other = await open('127.0.0.2')
    expect(opened([a, b, d, other])).toEqual([true, true, true, true])
    const e = await open()
    expect(opened([a, b, d, e])).toEqual([true, false, true, true])
  })

  it('is refused to a client whose connections are all busy', async () => {
    limit({ maxPerClient: 3 })
    const pairs = await openAll(3)
    busy(pairs)
    expect((await open()).own).toBeNull()
    expect(opened(pairs)).toEqual([true, true, true])
    expect((await open('127.0.0.2')).own).not.toBeNull()
    pairs[0]!.client.destroy()
    await until(() => sockets.open.size === 3, { what: 'its place to come back' })
    expect((await open()).own).not.toBeNull()
  })

  it('is found for a new client, however many busy connections others have', async () => {
    limit({ maxSockets: 9 })
    const many = await openAll(9)
    expect(many.filter(isOpen)).toHaveLength(6)
    busy(many)
    expect((await open()).own).toBeNull()
    const others = await openAll(2, '127.0.0.2')
    busy(others)
    expect(opened(others)).toEqual([true, true])
    expect((await open('127.0.0.3')).own).not.toBeNull()
  })

  it('is made by closing the longest idle connection of all clients if all places are taken', async () => {
    limit({ maxSockets: 4, maxPerClient: 4 })
    const all: Pair[] = []
    for (const last of [2, 3, 4, 5]) all.push(await open(`127.0.0.${last}`))
    busy(all.slice(0, 1))
    const late = await open('127.0.0.6')
    expect(opened([...all, late])).toEqual([true, false, true, true, true])
  })

  it('is made by closing an idle websocket only if there is no other idle connection', async () => {
    limit({ maxPerClient: 3 })
    const [a, b, c] = (await openAll(3)) as [Pair, Pair, Pair]
    sockets.setLasting(a.own!)
    sockets.setLasting(b.own!)
    sockets.setBusy(b.own!, 1)
    expect(opened([a, b, c, await open()])).toEqual([true, true, false, true])
    busy([...sockets.open].filter((own) => own !== a.own).map((own) => ({ own }) as Pair))
    expect(opened([a, b, await open()])).toEqual([false, true, true])
  })

  it('is not counted by client if the peer is a proxy', async () => {
    limit({ maxSockets: 5, maxPerClient: null })
    const all = await openAll(5)
    busy(all)
    expect(opened(all)).toEqual([true, true, true, true, true])
    expect((await open()).own).toBeNull()
  })
})

describe('the end of all connections', () => {
  it('can be awaited, and comes at once if none is open', async () => {
    limit({})
    await sockets.whenNoneIsOpen()
    const pairs = await openAll(3)
    let isOver = false
    const over = sockets.whenNoneIsOpen().then(() => {
      isOver = true
    })
    for (const { client } of pairs.slice(1)) client.destroy()
    await until(() => sockets.open.size === 1, { what: 'two to go' })
    expect(isOver).toBe(false)
    pairs[0]!.client.destroy()
    await over
  })
})

describe('a connection that something waits for', () => {
  const MORE_THAN_THE_KERNEL_TAKES = 16 * 2 ** 20

  async function unread(): Promise<Pair & { own: Socket }> {
    const pair = (await open()) as Pair & { own: Socket }
    pair.client.pause()
    pair.own.write(Buffer.alloc(MORE_THAN_THE_KERNEL_TAKES))
    return pair
  }

  it('is cut off if the client takes no bytes for the set time', async () => {
    limit({})
    const { own } = await unread()
    const idle = await open()
    await sleep(50)
    sockets.look(0)
    sockets.look(SLOW_MS - 1)
    expect(slow).toEqual([])
    sockets.look(SLOW_MS)
    expect(slow).toEqual([own])
    expect([own.destroyed, isOpen(idle)]).toEqual([true, true])
  })

  it('goes on as long as the client takes enough bytes, even if one write lasts all that time', async () => {
    limit({})
    const { own, client } = await unread()
    await sleep(50)
    for (let nowMs = 0; nowMs < 5 * SLOW_MS; nowMs += SLOW_MS) {
      sockets.look(nowMs)
      for (let taken = 0; taken < 2 ** 21; ) {
        const chunk: Buffer | null = client.read()
        if (chunk === null) await once(client, 'readable')
        else taken += chunk.length
      }
      await sleep(50)
    }
    expect([slow, own.writableLength]).toEqual([[], MORE_THAN_THE_KERNEL_TAKES])
  })

  it('is not cut off while other code watches it', async () => {
    limit({})
    const { own } = await unread()
    sockets.setWatched(own, true)
    sockets.look(0)
    sockets.look(10 * SLOW_MS)
    expect(slow).toEqual([])
    sockets.setWatched(own, false)
    sockets.look(20 * SLOW_MS)
    sockets.look(30 * SLOW_MS)
    expect(slow).toEqual([own])
  })
})
