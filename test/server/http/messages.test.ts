// One websocket as its server sees it: what memory it holds, what waits, and when it is given up. Uses a real connection.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { BACKLOG_BYTES, CALLS_AT_A_TIME, RECEIVE_MS, UNCOUNTED_BYTES } from '../../../server/http/ledger.ts'
import { type Messages, ScreenedSocket, screenMessages } from '../../../server/http/messages.ts'
import { createByteBudget } from '../../../server/lib/byte-budget.ts'
import { createTurns } from '../../../server/lib/turns.ts'
import { until } from '../../support/wait.ts'

const MAX_BYTES = 100_000
let server: Server
let received: ReturnType<typeof createByteBudget>
let made: ReturnType<typeof createByteBudget>

beforeEach(async () => {
  received = createByteBudget(300_000)
  made = createByteBudget(300_000)
  server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})

afterEach(() => {
  server.closeAllConnections()
  server.close()
})

interface Talk {
  client: WebSocket
  socket: Socket
  own: ScreenedSocket
  messages: Messages
  /** Messages that were passed on. */
  passed: string[]
  heard: string[]
}

async function talk(key = 'a'): Promise<Talk> {
  const wss = new WebSocketServer({
    noServer: true,
    WebSocket: ScreenedSocket,
    maxPayload: MAX_BYTES,
    allowSynchronousEvents: false,
  })
  const passed: string[] = []
  const heard: string[] = []
  const upgraded = Promise.withResolvers<{ own: ScreenedSocket; messages: Messages }>()
  server.once('upgrade', (req, duplex, head) => {
    wss.handleUpgrade(req, duplex, head, (own) => {
      const messages = screenMessages(own, req, {
        limits: { maxBytes: MAX_BYTES, json: { maxDepth: 8, maxTokens: 1_000 } },
        key,
        turns: createTurns(),
        incoming: received.open(key),
        answers: made.open(key),
        maxAnswerBytes: MAX_BYTES,
        onMessage: () => {},
      })
      own.on('message', (data) => {
        passed.push(String(data))
        messages.encoder.decode(String(data))
      })
      upgraded.resolve({ own, messages })
    })
  })
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  client.on('error', () => {})
  client.on('message', (data) => heard.push(String(data)))
  await once(client, 'open')
  const { _socket: socket } = client as unknown as { _socket: Socket }
  return { client, socket, ...(await upgraded.promise), passed, heard }
}

const call = (id: number, more = '') => JSON.stringify({ id, method: 'query', params: { path: 'x', input: more } })

/** Makes the head of a frame of this many bytes, and some of the bytes. */
function halfFrame(bytes: number, sent: number): Buffer {
  const head = Buffer.alloc(14)
  head.set([0x81, 0xff])
  head.writeBigUInt64BE(BigInt(bytes), 2)
  return Buffer.concat([head, Buffer.alloc(sent)])
}

describe('a message that is on its way', () => {
  it('counts with the length in its frame, and stops counting when the connection closes', async () => {
    const { socket, client } = await talk()
    socket.write(halfFrame(90_000, 10))
    await until(() => received.used >= 90_000, { what: 'the bytes to be counted' })
    client.terminate()
    await until(() => received.used === 0, { what: 'the bytes to come back' })
  })

  it('closes its connection if there is no room for it, and no other connection', async () => {
    const [first, second, third, other] = [await talk(), await talk(), await talk(), await talk('b')]
    for (const { socket } of [first, second]) socket.write(halfFrame(90_000, 10))
    await until(() => received.used >= 180_000, { what: 'both to be counted' })
    third.socket.write(halfFrame(90_000, 10))
    await once(third.client, 'close')
    other.socket.write(halfFrame(50_000, 10))
    await until(() => received.used >= 230_000, { what: "the newcomer's to be counted" })
    expect([first, second, other].map(({ own }) => own.readyState)).toEqual([1, 1, 1])
  })

  it('has to become whole in time', async () => {
    const { socket, own, messages } = await talk()
    socket.write(halfFrame(1_000, 10))
    await sleep(50)
    messages.look(performance.now() + RECEIVE_MS - 1_000)
    expect(own.readyState).toBe(WebSocket.OPEN)
    messages.look(performance.now() + RECEIVE_MS + 1_000)
    expect(own.readyState).not.toBe(WebSocket.OPEN)
  })
})

describe('calls', () => {
  it('wait until earlier calls are answered, and the socket is not read meanwhile', async () => {
    const { client, own, messages, passed } = await talk()
    const all = 3 * CALLS_AT_A_TIME
    for (let id = 0; id < all; id++) client.send(call(id))
    await until(() => passed.length === CALLS_AT_A_TIME && own.isPaused, { what: 'some to be let pass' })
    await sleep(50)
    expect(passed).toHaveLength(CALLS_AT_A_TIME)
    for (let id = 0; id < all; id++) {
      await until(() => passed.length > id, { what: `call ${id}` })
      expect(passed.length).toBeLessThanOrEqual(id + CALLS_AT_A_TIME)
      messages.encoder.encode({ id, result: { type: 'data', data: 1 } })
    }
    await until(() => !own.isPaused, { what: 'it to be read again' })
    expect([messages.calls, received.used]).toEqual([0, 0])
  })

  it('count until they are answered, whatever the answer is', async () => {
    const { client, messages } = await talk()
    const large = 'x'.repeat(2 * UNCOUNTED_BYTES)
    const answers = [
      { id: 1, result: { type: 'data', data: null } },
      { id: 1, error: { code: -1 } },
      { id: 1, result: { type: 'started' } },
    ]
    for (const answer of answers) {
      client.send(call(1, large))
      await until(() => received.used > large.length, { what: 'the call to be counted' })
      messages.encoder.encode(answer)
      expect(received.used).toBe(0)
    }
  })

  it('do not count any more when their message is refused as a whole', async () => {
    const { client, messages, passed } = await talk()
    client.send(`[${call(1)},${call(2)}]`)
    await until(() => passed.length === 1, { what: 'the batch' })
    expect(messages.calls).toBe(2)
    messages.encoder.encode({ id: null, error: { code: -1 } })
    expect(messages.calls).toBe(0)
  })

  it('are dropped if their client has left', async () => {
    const MESSAGES = 5_000
    const { socket, own, passed } = await talk()
    socket.write(Buffer.alloc(MESSAGES * 8, Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x7b, 0x7d])))
    await until(() => passed.length > 0, { what: 'the first message' })
    let isClosed = false
    own.once('close', () => {
      isClosed = true
    })
    const { _socket: ownSocket } = own as unknown as { _socket: Socket }
    const gone = new Promise((resolve) => ownSocket.once('close', resolve))
    socket.resetAndDestroy()
    await gone
    let turns = 0
    for (; !isClosed; turns++) await new Promise((resolve) => setImmediate(resolve))
    expect(turns).toBeLessThan(100)
    expect(passed.length).toBeLessThan(MESSAGES / 2)
  })

  it('wait while their client does not read', async () => {
    const { client, own, passed } = await talk()
    client.pause()
    own.send('x'.repeat(16 * 2 ** 20))
    expect(own.bufferedAmount).toBeGreaterThan(BACKLOG_BYTES)
    client.send(call(1))
    await sleep(50)
    expect(passed).toEqual([])
    client.resume()
    await until(() => passed.length === 1, { what: 'the call' })
  })
})

describe('a sign of life', () => {
  it('is sent on request, but not to a client that does not read', async () => {
    const { client, own, heard, passed } = await talk()
    client.send('PING')
    await until(() => heard.includes('PONG'), { what: 'the answer' })
    client.pause()
    own.send('x'.repeat(16 * 2 ** 20))
    const before = own.bufferedAmount
    for (let n = 0; n < 1_000; n++) client.send('PING')
    await sleep(100)
    expect(own.bufferedAmount).toBeLessThanOrEqual(before)
    expect(passed).toEqual([])
  })

  it('is asked for after some quiet, and a socket that sends none is closed', async () => {
    const { client, own, messages, heard } = await talk()
    const now = performance.now()
    messages.look(now + 20_000)
    messages.look(now + 26_000)
    await until(() => heard.join() === 'PING', { what: 'the question' })
    client.send('PONG')
    await sleep(50)
    messages.look(now + 40_000)
    expect(own.readyState).toBe(WebSocket.OPEN)
    messages.look(now + 60_000)
    messages.look(now + 71_000)
    expect(own.readyState).not.toBe(WebSocket.OPEN)
  })
})
