// What a server lets in: calls of known pages under known host names. Junk does not harm it.
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { newArchiveKey } from '#contracts/client.ts'
import { type AskOptions, ask, converse } from '../support/ask.ts'
import { gate, status } from '../support/behaviours.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { completed, eachTestItsWorld, watch } from './world.ts'

const world = eachTestItsWorld()
const PAGE = 'https://page.test'

/** Returns the HTTP status of a websocket handshake, which is 101 if it is accepted. */
function handshake({ port }: TestServer, headers: Record<string, string>, path = '/trpc'): Promise<number> {
  return new Promise((resolve) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers })
    socket.on('open', () => {
      socket.terminate()
      resolve(101)
    })
    socket.on('unexpected-response', (asking, res) => {
      asking.destroy()
      resolve(res.statusCode ?? 0)
    })
    socket.on('error', () => {})
  })
}

describe('guards', () => {
  it('let pages of the server and of allowed origins call, and refuse all others on both transports', async () => {
    const server = await world.start({ SHEAF_ALLOWED_ORIGINS: `${PAGE},http://other.test:81` })
    const cases: [string | undefined, number][] = [
      [undefined, 200],
      [server.url, 200],
      [PAGE, 200],
      ['http://other.test:81', 200],
      ['http://other.test', 403],
      ['https://evil.test', 403],
      ['http://page.test', 403],
      [`${PAGE}.evil.test`, 403],
      [`http://127.0.0.1:${server.port + 1}`, 403],
      ['null', 403],
      ['', 403],
    ]
    for (const [origin, expected] of cases) {
      const headers: Record<string, string> = origin === undefined ? {} : { origin }
      expect([origin, await handshake(server, headers)]).toEqual([origin, expected === 200 ? 101 : 403])
      for (const path of ['/trpc/serverInfo', '/archives/AAAAAAAAAAAAAAAAAAAAAA/a.zip', '/healthz']) {
        const answer = await ask(server.url + path, { headers })
        const otherwise = path.startsWith('/archives') ? 404 : 200
        expect([origin, path, answer.status]).toEqual([origin, path, expected === 200 ? otherwise : 403])
        const allowed = origin === PAGE || origin === 'http://other.test:81' ? origin : undefined
        expect([origin, answer.headers['access-control-allow-origin']]).toEqual([origin, allowed])
      }
    }
  })

  it('answer the preflight of an allowed page only', async () => {
    const server = await world.start({ SHEAF_ALLOWED_ORIGINS: PAGE })
    const preflight = (origin: string): AskOptions => ({
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type,sheaf-protocol',
      },
    })
    const allowed = await ask(`${server.url}/trpc/echo`, preflight(PAGE))
    expect(allowed.status).toBe(204)
    expect(allowed.headers).toMatchObject({ 'access-control-allow-origin': PAGE, vary: 'origin' })
    expect(allowed.headers['access-control-allow-methods']).toContain('POST')
    expect(allowed.headers['access-control-allow-headers']).toMatch(/content-type.*sheaf-protocol/)
    const refused = await ask(`${server.url}/trpc/echo`, preflight('https://evil.test'))
    expect([refused.status, refused.headers['access-control-allow-origin']]).toEqual([403, undefined])
  })

  it('serve only under localhost, addresses and allowed names', async () => {
    const server = await world.start({ SHEAF_ALLOWED_HOSTS: 'Sheaf.test' })
    const cases: [string, number][] = [
      ['localhost', 200],
      [`localhost:${server.port}`, 200],
      ['127.0.0.1', 200],
      ['[::1]:80', 200],
      ['sheaf.test', 200],
      ['SHEAF.TEST:443', 200],
      ['evil.test', 421],
      ['sheaf.test.evil.test', 421],
      ['localhost.evil.test', 421],
      ['a b', 421],
    ]
    for (const [host, expected] of cases) {
      expect([host, (await ask(`${server.url}/healthz`, { headers: { host } })).status]).toEqual([host, expected])
      expect([host, await handshake(server, { host })]).toEqual([host, expected === 200 ? 101 : expected])
    }
  })

  it('refuse calls that browsers mark as coming from other sites, but not links to archives', async () => {
    const server = await world.start()
    const headers = { 'sec-fetch-site': 'cross-site' }
    expect((await ask(`${server.url}/trpc/serverInfo`, { headers })).status).toBe(403)
    expect(await handshake(server, headers)).toBe(403)
    expect((await ask(`${server.url}/archives/AAAAAAAAAAAAAAAAAAAAAA/a.zip`, { headers })).status).toBe(404)
    expect((await ask(`${server.url}/trpc/serverInfo`, { headers: { 'sec-fetch-site': 'same-origin' } })).status).toBe(
      200,
    )
  })

  it('accept websockets only under /trpc, and answer the request elsewhere', async () => {
    const server = await world.start()
    expect(await handshake(server, {}, '/healthz')).toBe(200)
    expect(await handshake(server, {}, '/nothing')).toBe(404)
    expect(await handshake(server, {}, '/trpc/echo')).toBe(405)
  })
})

describe('junk', () => {
  const deep = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
  const call = (params: object) => JSON.stringify({ id: 1, method: 'mutation', params })

  it('on a websocket costs no more than that socket', async () => {
    const { origin } = world
    const server = await world.start()
    const held = gate(status(200, {}, 'at last'))
    const archiveKey = newArchiveKey()
    const entries = [origin.serve('/held', held.behaviour)]
    const bystander = watch(world.client(server.url).createArchive({ archiveKey, entries }))
    await held.waitFor(1)

    const messages: [string, string | Buffer][] = [
      ['nothing', ''],
      ['no JSON', 'hello'],
      ['half of JSON', '{"id":1'],
      ['another shape', '[1,null,"x",{"id":{}}]'],
      ['binary', Buffer.from(Array.from({ length: 1000 }, (_, index) => (index * 7) & 0xff))],
      ['deep JSON', deep(1_000_000)],
      ['deep input', `{"id":1,"method":"mutation","params":{"path":"echo","input":{"json":${deep(100_000)}}}}`],
      [
        'deep meta',
        `{"id":1,"method":"mutation","params":{"path":"echo","input":{"json":{"text":"x"},"meta":{"values":${deep(100_000)}}}}}`,
      ],
      [
        'a prototype',
        call({ path: 'echo', input: { json: { text: 'x' }, meta: { values: { '__proto__.x': ['Date'] } } } }),
      ],
      ['a path to nowhere', call({ path: '__proto__.constructor', input: null })],
      ['a method that is none', JSON.stringify({ id: 1, method: 'destroy', params: {} })],
      [
        'an endless batch',
        JSON.stringify(new Array(10_000).fill({ id: 1, method: 'query', params: { path: 'serverInfo' } })),
      ],
      ['connection params that are none', '{"method":"connectionParams","data":7}'],
      ['a message larger than any manifest', 'x'.repeat(9_000_000)],
    ]
    for (const [what, message] of messages) {
      const socket = new WebSocket(`ws://127.0.0.1:${server.port}/trpc?connectionParams=1`)
      const closed = new Promise<number>((resolve) => socket.on('close', resolve))
      socket.on('error', () => {})
      await new Promise((resolve) => socket.on('open', resolve))
      socket.send('{"method":"connectionParams","data":null}')
      socket.send(message)
      // The socket is closed in the middle of a message.
      socket.send('{"id"', { fin: false })
      await Promise.race([closed, sleep(50)])
      socket.terminate()
      expect([what, (await ask(`${server.url}/healthz`)).status]).toEqual([what, 200])
    }
    // These frames break the protocol: unmasked, reserved bits, an unknown opcode, garbage.
    for (const frame of ['\x81\x05hello', '\xf1\x80\0\0\0\0', '\x8f\x80\0\0\0\0', 'SSH-2.0-x\r\n']) {
      const upgrade = `GET /trpc HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
      const key = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
      const raw = converse(server.url, upgrade + key)
      await until(() => raw.received.includes('101 Switching'), { what: 'the upgrade' })
      raw.send(Buffer.from(frame, 'latin1'))
      await raw.closed
    }

    held.open()
    await completed(bystander.end)
    expect(server.log.split('\n').filter((line) => / (error|warn) /.test(line))).toEqual([])
  })

  it('that is too large closes the socket with code 1009, so that no client sends it again', async () => {
    const server = await world.start()
    const message = 'x'.repeat(20_000_000)
    const codes = Array.from({ length: 10 }, () => {
      const socket = new WebSocket(`ws://127.0.0.1:${server.port}/trpc`)
      socket.on('error', () => {})
      socket.on('open', () => socket.send(message))
      return new Promise<number>((resolve) => socket.on('close', resolve))
    })
    expect(await Promise.all(codes)).toEqual(new Array(10).fill(1009))
    expect((await ask(`${server.url}/healthz`)).status).toBe(200)
  })

  it('over HTTP is answered, and the process goes on', async () => {
    const server = await world.start()
    const post = (body: string, path = 'echo', contentType = 'application/json') =>
      ask(`${server.url}/trpc/${path}`, { method: 'POST', headers: { 'content-type': contentType }, body })
    const bodies = ['', 'x', '{}', 'null', '7', '{"json":{"text":7}}', deep(1_000_000), `{"json":${deep(100_000)}}`]
    bodies.push(`{"json":{"text":"x"},"meta":{"values":${deep(100_000)}}}`)
    bodies.push('{"json":{"text":"x"},"meta":{"referentialEqualities":{"__proto__":["text"]}}}')
    for (const body of bodies) {
      const { status, body: answer } = await post(body)
      expect([body.slice(0, 40), status]).toEqual([body.slice(0, 40), 400])
      expect(JSON.parse(answer.toString()).error.json.data.refusal).toMatchObject({ code: 'BAD_INPUT' })
      expect(answer.length).toBeLessThan(1500)
    }
    expect((await post('{"json":{"text":"x"}}', 'echo', 'text/plain')).status).toBe(415)
    expect((await ask(`${server.url}/trpc/echo?batch=1&input=x`)).status).toBeGreaterThanOrEqual(400)
    expect((await ask(`${server.url}/%`)).status).toBe(404)
    for (const path of [
      '/..%2f..%2fpackage.json',
      '/archives/..%2f..%2fx/y.zip',
      '/archives/../../x',
      '/assets/..%2f/',
    ]) {
      expect([path, (await ask(server.url + path)).status]).toEqual([path, 404])
    }
    expect((await post('{"json":{"text":"still there"}}')).status).toBe(200)
    expect(server.log.split('\n').filter((line) => / (error|warn) /.test(line))).toEqual([])
  })
})
