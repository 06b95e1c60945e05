// Many hostile clients of each sort: the server's memory stays bounded, and honest clients are served.
import { readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { ask } from '../support/ask.ts'
import { besiege, healthTimes, median, prepare, type SortName, socketsOf, sortNames } from '../support/crowds.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { eachTestItsWorld } from './world.ts'

const world = eachTestItsWorld()
const MAX_BYTES = 500 * 2 ** 20
const ADDRESSES = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4']
/** A generous bound for a busy machine. A server that is really blocked is blocked for many seconds. */
const MAX_MS = 5_000

/** CPU time of all threads so far, from clock ticks of 10 ms (proc_pid_stat(5)). */
async function cpuMsOf({ pid }: TestServer): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]!.split(' ')
  return 10 * (Number(fields[11]) + Number(fields[12]))
}

describe('crowds', () => {
  it('of all sorts at once leave the server working', { timeout: 120_000 }, async () => {
    const { origin } = world
    const server = await world.start()
    const victim = await prepare(server, origin)
    const { health, maxBytes } = await besiege(server, origin, victim, {
      names: sortNames,
      count: 60,
      from: ADDRESSES,
    })
    expect(maxBytes).toBeLessThan(MAX_BYTES)
    expect(median(health)).toBeLessThan(100)
    expect(Math.max(...health)).toBeLessThan(MAX_MS)
    expect(server.log.split('\n').filter((line) => / (error|warn) /.test(line))).toEqual([])
  })

  it('that read nothing are cut off, whatever is waiting for them', { timeout: 120_000 }, async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_SLOW_READER_MS: '1000', SHEAF_DOWNLOAD_IDLE_TIMEOUT_MS: '1000' })
    const victim = await prepare(server, origin)
    const before = await socketsOf(server)
    // The kernel takes everything that other sorts are sent, so nothing waits for them in the server.
    const names: SortName[] = ['unread batches', 'unread websockets', 'unread events', 'unread downloads']
    const gone = async () => {
      await until(async () => (await socketsOf(server)) <= before + 3, { timeoutMs: 60_000, what: 'all to be cut off' })
    }
    await besiege(server, origin, victim, { names, count: 20, from: ADDRESSES, before: gone })
  })

  const audited: [SortName, number][] = [
    ['unread websockets', 1],
    ['unread batches', 8],
    ['withheld last bytes', 60],
    ['half messages', 60],
  ]
  it.each(audited)(
    'of one client get no more than a share of the memory: %s',
    { timeout: 60_000 },
    async (name, count) => {
      const { origin } = world
      const server = await world.start()
      const victim = await prepare(server, origin)
      const { maxBytes } = await besiege(server, origin, victim, { names: [name], count, from: ['127.0.0.1'] })
      expect(maxBytes).toBeLessThan(MAX_BYTES)
    },
  )
})

describe('batches of calls', () => {
  it('in progress get no more than a share of the memory, and further batches are refused as a whole', {
    timeout: 60_000,
  }, async () => {
    const { origin } = world
    const server = await world.start()
    const { archiveKey } = await prepare(server, origin)
    const calls = Array.from({ length: 32 }, () => ({ json: { archiveKey, limit: 1000 } }))
    const url = `${server.url}/trpc/${calls.map(() => 'listEntries').join(',')}?batch=1`
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ ...calls }) }
    const answers = await Promise.all(Array.from({ length: 200 }, async () => (await fetch(url, init)).text()))
    const refused = answers.filter((text) => text.includes('too much is being received'))
    expect(refused.length).toBeGreaterThan(20)
    expect(refused.length).toBeLessThan(180)
  })
})

describe('requests behind one too many', () => {
  it('in one packet cost almost nothing', { timeout: 60_000 }, async () => {
    const server = await world.start()
    const packet = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(1_700)
    const send = async () => {
      const socket = connect(server.port, '127.0.0.1', () => socket.write(packet))
      socket.on('error', () => {}).resume()
      await new Promise((resolve) => socket.once('close', resolve))
    }
    await Promise.all(Array.from({ length: 10 }, send))
    const before = await cpuMsOf(server)
    await Promise.all(Array.from({ length: 40 }, send))
    expect((await cpuMsOf(server)) - before).toBeLessThan(600)
  })
})

describe('silent connections', () => {
  const SOCKETS = 40

  it.each([
    ['the same address', ['127.0.0.1']],
    ['other addresses', ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5']],
  ])('that are opened again and again from %s keep nobody out', { timeout: 60_000 }, async (_, from) => {
    const server = await world.start({ SHEAF_MAX_SOCKETS: String(SOCKETS) })
    const silent = new Set<Socket>()
    let opened = 0
    let isOver = false
    const open = () => {
      const socket = connect({ port: server.port, host: '127.0.0.1', localAddress: from[opened++ % from.length]! })
      silent.add(socket)
      socket.on('error', () => {})
      // A socket that is not read does not notice its end.
      socket.resume()
      socket.once('close', () => {
        silent.delete(socket)
        if (!isOver) setTimeout(open, 20)
      })
    }
    for (let n = 0; n < SOCKETS; n++) open()
    world.defer(() => {
      isOver = true
      for (const socket of silent) socket.destroy()
    })
    await until(() => silent.size >= SOCKETS / 2, { what: 'the connections' })
    await sleep(200)
    const health = await healthTimes(server, 40)
    expect(median(health)).toBeLessThan(100)
    expect(opened).toBeGreaterThan(SOCKETS)
  })

  it('are closed if a head does not come in time', { timeout: 60_000 }, async () => {
    const server = await world.start()
    const closedAfter = (text: string) => {
      const startedAt = performance.now()
      const socket = connect(server.port, '127.0.0.1', () => socket.write(text))
      world.defer(() => void socket.destroy())
      socket.on('error', () => {})
      socket.resume()
      return new Promise<number>((resolve) => socket.once('close', () => resolve(performance.now() - startedAt)))
    }
    const took = await Promise.all([closedAfter(''), closedAfter('GET / HTTP/1.1\r\nHost: localhost\r\nX: ')])
    for (const ms of took) {
      expect(ms).toBeGreaterThan(14_000)
      expect(ms).toBeLessThan(25_000)
    }
  })
})

describe('a body that falls silent', () => {
  it('loses its connection', { timeout: 60_000 }, async () => {
    const server = await world.start()
    const socket = connect(server.port, '127.0.0.1')
    world.defer(() => void socket.destroy())
    socket.on('error', () => {}).resume()
    socket.write(
      'POST /trpc/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    )
    const startedAt = performance.now()
    await new Promise((resolve) => socket.once('close', resolve))
    expect(performance.now() - startedAt).toBeLessThan(40_000)
  })

  it('is refused as BUSY if its client holds its whole share of memory, while another client is served', async () => {
    const server = await world.start({ SHEAF_TRUST_PROXY: 'true' })
    const length = 7_000_000
    const head = (client: string) =>
      `POST /trpc/echo HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: ${client}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n{`
    for (let n = 0; n < 12; n++) {
      const socket = connect(server.port, '127.0.0.1')
      world.defer(() => void socket.destroy())
      socket.on('error', () => {}).write(head('192.0.2.1'))
    }
    const echo = (client: string, text: string) =>
      ask(`${server.url}/trpc/echo`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-forwarded-for': client },
        body: JSON.stringify({ json: { text } }),
      })
    const long = 'x'.repeat(1_000_000)
    const refused = await until(
      async () => {
        const answer = await echo('192.0.2.1', long.repeat(4))
        return answer.status === 429 ? answer : null
      },
      { what: 'the share to be taken' },
    )
    expect(refused.headers['retry-after']).toBe('1')
    expect(JSON.parse(refused.body.toString()).error.json.data).toMatchObject({
      httpStatus: 429,
      refusal: { code: 'BUSY', retryable: true, retryAfterMs: expect.any(Number) },
    })
    expect((await echo('192.0.2.1', 'small')).status).toBe(200)
    // The body is received, but is too long for an echo.
    expect((await echo('192.0.2.2', long)).status).toBe(400)
  })
})

describe('answers that nobody takes', () => {
  it('leave no room for more answers to the same client, but room for another client', {
    timeout: 60_000,
  }, async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_TRUST_PROXY: 'true' })
    const { archiveKey } = await prepare(server, origin)
    const input = { json: { archiveKey, limit: 1000 } }
    // Answers of 21 pages of 256 KiB are larger than the kernel's buffers. Two of them leave no room for one more page.
    const pages = 21
    const batch = JSON.stringify({ ...new Array(pages).fill(input) })
    const path = `${new Array(pages).fill('listEntries').join(',')}?batch=1`
    for (let n = 0; n < 2; n++) {
      const socket = connect(server.port, '127.0.0.1')
      world.defer(() => void socket.destroy())
      socket.on('error', () => {}).pause()
      socket.write(
        `POST /trpc/${path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${batch.length}\r\n\r\n${batch}`,
      )
    }
    const list = (client: string) =>
      ask(`${server.url}/trpc/listEntries`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-forwarded-for': client },
        body: JSON.stringify(input),
      })
    const refused = await until(
      async () => {
        const answer = await list('192.0.2.1')
        return answer.status === 429 ? answer : null
      },
      { timeoutMs: 20_000, what: 'the share to be taken' },
    )
    expect(JSON.parse(refused.body.toString()).error.json.data.refusal).toMatchObject({ code: 'BUSY' })
    const page = await list('192.0.2.2')
    expect([page.status, JSON.parse(page.body.toString()).result.data.json.entries.length > 500]).toEqual([200, true])
  })
})
