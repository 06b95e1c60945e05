// Requests in every form that HTTP allows, and in some that it does not. Each is answered, and a GET never makes an archive.
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { newArchiveKey } from '#contracts/client.ts'
import { call, refusalOf } from '../contract/callers.ts'
import { type AskOptions, ask, converse } from '../support/ask.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { completed, eachTestItsWorld, watch } from './world.ts'

const world = eachTestItsWorld()
const UPGRADE = { connection: 'Upgrade, HTTP2-Settings', 'http2-settings': 'AAMAAABkAAQAAP__' }

/** Sends a hand-written request, and returns status and body of its only answer. */
async function raw(server: TestServer, head: string, body = ''): Promise<[status: number, body: string]> {
  const talk = converse(server.url, `${head.replaceAll('\n', '\r\n')}\r\nConnection: close\r\n\r\n${body}`)
  await talk.closed
  const [, status, text] = /^HTTP\/1\.1 (\d+).*?\r\n\r\n(.*)$/s.exec(talk.received.toString()) ?? []
  return [Number(status), text ?? '']
}

const post = (body: unknown, headers = {}): AskOptions => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify(body),
})

describe('an offer of another protocol', () => {
  it.each(['h2c', 'foo/2, h2c, TLS/1.0', 'websocket, h2c', ''])('is ignored: %j', async (upgrade) => {
    const server = await world.start()
    const headers = { ...UPGRADE, upgrade }
    expect((await ask(`${server.url}/healthz`, { headers })).body.toString()).toBe('ok\n')
    const echoed = await ask(`${server.url}/trpc/echo`, post({ json: { text: 'x' } }, headers))
    expect([echoed.status, echoed.body.toString()]).toEqual([200, '{"result":{"data":{"json":{"text":"x"}}}}'])
    const client = world.client(server.url)
    const entries = [`${world.origin.url}/bytes/1000/x`]
    const { href, sizeBytes } = await completed(
      watch(client.createArchive({ archiveKey: newArchiveKey(), entries })).end,
    )
    const download = await ask(server.url + href, { headers })
    expect([download.status, download.body.length, download.whole]).toEqual([200, sizeBytes, true])
  })

  it('is answered and closed if the upgrade is refused, whether the client closes or not', async () => {
    const server = await world.start()
    const before = await server.descriptors()
    const refused = converse(
      server.url,
      'GET /trpc HTTP/1.1\r\nHost: evil.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
    )
    await until(() => refused.received.includes('421 Misdirected Request'), { what: 'the answer' })
    await until(async () => (await server.descriptors()).length <= before.length, { what: 'the server to close it' })
    refused.leave()
  })
})

describe('the target of a request', () => {
  it('may be a URL, whose host is judged instead of the header', async () => {
    const server = await world.start({ SHEAF_ALLOWED_HOSTS: 'sheaf.test' })
    const cases: [string, string, number][] = [
      ['http://sheaf.test/healthz', 'localhost', 200],
      ['HTTP://SHEAF.TEST/healthz', 'localhost', 200],
      ['https://localhost:7/healthz', 'evil.test', 200],
      ['http://127.0.0.1/trpc/serverInfo', 'localhost', 200],
      ['http://localhost?x', 'localhost', 200],
      ['http://evil.test/healthz', 'localhost', 421],
      ['http://sheaf.test@evil.test/healthz', 'localhost', 421],
      ['http://evil.test@sheaf.test/healthz', 'localhost', 421],
      ['http:///healthz', 'localhost', 421],
      ['ftp://localhost/healthz', 'localhost', 400],
      ['localhost/healthz', 'localhost', 400],
    ]
    for (const [target, host, expected] of cases) {
      const [status] = await raw(server, `GET ${target} HTTP/1.1\nHost: ${host}`)
      expect([target, status]).toEqual([target, expected])
    }
  })

  it('may be a URL for a websocket, too', async () => {
    const server = await world.start()
    const handshake = (target: string) =>
      converse(
        server.url,
        `GET ${target} HTTP/1.1\r\nHost: evil.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      )
    const taken = handshake('http://localhost/trpc')
    await until(() => taken.received.includes(' 101 '), { what: 'the upgrade' })
    taken.leave()
    const refused = handshake('http://evil.test/trpc')
    await refused.closed
    expect(refused.received.toString()).toContain(' 421 ')
  })

  it('must name a single host', async () => {
    const server = await world.start()
    const [status, text] = await raw(server, 'GET /healthz HTTP/1.1\nHost: localhost\nhost: localhost')
    expect([status, text]).toEqual([400, expect.stringContaining('more than one Host header\n')])
    expect((await raw(server, 'GET /healthz HTTP/1.1\nHost: localhost, evil.test'))[0]).toBe(421)
    expect((await raw(server, 'GET /healthz HTTP/1.1'))[0]).toBe(400)
  })

  it('may be * for OPTIONS only, and may never be another host', async () => {
    const server = await world.start()
    expect((await raw(server, 'OPTIONS * HTTP/1.1\nHost: localhost'))[0]).toBe(204)
    expect((await raw(server, 'OPTIONS * HTTP/1.1\nHost: evil.test'))[0]).toBe(421)
    expect((await raw(server, 'GET * HTTP/1.1\nHost: localhost'))[0]).toBe(400)
    expect(await raw(server, 'CONNECT localhost:80 HTTP/1.1\nHost: localhost:80')).toEqual([
      405,
      'this is not a proxy\n',
    ])
    expect((await ask(`${server.url}/healthz`)).status).toBe(200)
  })
})

describe('a body that the client asks about first', () => {
  const head = (length: number) =>
    'POST /trpc/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' +
    `Content-Length: ${length}\r\nExpect: 100-continue\r\n\r\n`

  it('is asked for with 100 Continue, and then answered', async () => {
    const server = await world.start()
    const body = '{"json":{"text":"at last"}}'
    const talk = converse(server.url, head(body.length))
    await until(() => talk.received.includes('100 Continue'), { what: 'the permission' })
    talk.send(Buffer.from(body))
    await until(() => talk.received.includes('"text":"at last"'), { what: 'the answer' })
    talk.leave()
  })

  it('is refused before it is sent', async () => {
    const server = await world.start()
    const talk = converse(server.url, head(1e9))
    await talk.closed
    expect(talk.received.toString()).toMatch(/^HTTP\/1\.1 413 .*MANIFEST_TOO_LARGE/s)
  })

  it('is refused if the client expects anything other than 100-continue', async () => {
    const server = await world.start()
    expect((await raw(server, 'GET /healthz HTTP/1.1\nHost: localhost\nExpect: miracles'))[0]).toBe(417)
  })
})

describe('a GET', () => {
  it('makes no archive, however it is spelled', async () => {
    const { origin } = world
    const server = await world.start()
    const archiveKey = newArchiveKey()
    const json = { archiveKey, entries: [`${origin.url}/bytes/10/x`] }
    const input = encodeURIComponent(JSON.stringify({ json }))
    const batch = encodeURIComponent(JSON.stringify({ 0: { json } }))
    const targets = [
      `/trpc/createArchive?input=${input}`,
      `/trpc/%63reateArchive?input=${input}`,
      `/trpc/createArchive?batch=1&input=${batch}`,
      `/trpc/submitArchive?input=${input}`,
      `/trpc/submitArchive?batch=1&input=${batch}`,
      `/trpc/%73ubmitArchive?input=${input}`,
      `/trpc/cancelArchive?input=${input}`,
      `/trpc/echo?input=${encodeURIComponent('{"json":{"text":"x"}}')}`,
    ]
    const headersOf: Record<string, string>[] = [
      {},
      { accept: 'text/event-stream' },
      { 'x-http-method-override': 'POST' },
    ]
    for (const target of targets) {
      for (const headers of headersOf) {
        const answer = await ask(server.url + target, { headers })
        expect(answer.body.toString()).not.toMatch(/"(result|accepted)"/)
        expect(answer.body.toString()).toMatch(/METHOD_NOT_SUPPORTED|BAD_REQUEST/)
      }
    }
    await using caller = call('http', server.url)
    expect(await refusalOf(caller.watch({ archiveKey }).ended)).toMatchObject({ code: 'NOT_FOUND' })
    expect(server.log).not.toMatch(/accepted|echo/)
  })

  it('does not make the server ask origins, but plans from the list itself', async () => {
    const { origin } = world
    const server = await world.start()
    const path = '/bytes/10/never-asked'
    const plan = (input: object, options?: AskOptions) => {
      const query = options ? '' : `?input=${encodeURIComponent(JSON.stringify({ json: input }))}`
      return ask(`${server.url}/trpc/planArchive${query}`, options)
    }
    const entries = [`${origin.url}${path}`]
    expect((await plan({ entries, head: true })).status).toBe(405)
    expect(origin.count(path)).toBe(0)
    expect((await plan({ entries })).status).toBe(200)
    expect((await plan({}, post({ json: { entries, head: true } }))).status).toBe(200)
    expect(origin.count(path)).toBe(1)
  })
})

describe('JSON', () => {
  const tooMuch: [string, string][] = [
    ['deep', `{"json":${'['.repeat(100)}${']'.repeat(100)}}`],
    ['deep and broken off', `{"json":${'['.repeat(1_000_000)}`],
    ['many values', `{"json":{"entries":[${'0,'.repeat(400_000)}0]}}`],
    ['many lists', `{"json":{"entries":[${'[],'.repeat(400_000)}[]]}}`],
    ['a number without an end', `{"json":{"text":${'1'.repeat(4_000_000)}}}`],
  ]

  it.each(tooMuch)('that is too large or deep is refused over HTTP before it is parsed: %s', async (_, body) => {
    const server = await world.start()
    const answer = await ask(`${server.url}/trpc/submitArchive`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    expect(answer.status).toBe(400)
    const { refusal } = JSON.parse(answer.body.toString()).error.json.data
    expect(refusal).toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('the JSON ') })
  })

  it.each(tooMuch)(
    'that is too large or deep is refused over a websocket, under the id of its call: %s',
    async (_, input) => {
      const server = await world.start()
      const socket = new WebSocket(`ws://127.0.0.1:${server.port}/trpc`)
      world.defer(() => socket.terminate())
      const answers: string[] = []
      socket.on('message', (text) => answers.push(String(text)))
      await new Promise((resolve) => socket.once('open', resolve))
      socket.send(`{"id":7,"method":"mutation","params":{"path":"submitArchive","input":${input}}}`)
      socket.send(JSON.stringify({ id: 8, method: 'query', params: { path: 'serverInfo', input: { json: null } } }))
      await until(() => answers.length === 2, { what: 'both answers' })
      expect(JSON.parse(answers[0]!)).toMatchObject({
        id: 7,
        error: { json: { data: { refusal: { code: 'BAD_INPUT' } } } },
      })
      expect(JSON.parse(answers[1]!)).toMatchObject({ id: 8, result: { type: 'data' } })
    },
  )

  it('that is too large or deep closes a websocket if its call cannot be identified', async () => {
    const server = await world.start()
    const long = 'x'.repeat(10_000)
    const messages = [
      '['.repeat(1_000),
      JSON.stringify({ method: 'query', id: long, params: { path: 'serverInfo' } }),
      JSON.stringify({ method: 'query', id: 1, params: { path: long } }),
    ]
    for (const message of messages) {
      const socket = new WebSocket(`ws://127.0.0.1:${server.port}/trpc`)
      socket.on('open', () => socket.send(message))
      expect(await new Promise((resolve) => socket.once('close', resolve))).toBe(1008)
    }
  })

  it('that is too large or deep is refused in the query of a GET, too', async () => {
    const server = await world.start()
    const answer = await ask(`${server.url}/trpc/listEntries?input=${'['.repeat(1_000)}`)
    expect([answer.status, answer.body.toString()]).toEqual([400, expect.stringContaining('nested deeper')])
  })
})

describe('limits', () => {
  it('count an IPv6 client by its subnet', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_MAX_ARCHIVES_PER_CLIENT: '1', SHEAF_TRUST_PROXY: 'true' })
    const hanging = origin.serve('/hanging', (exchange) => exchange.gone())
    const submit = async (address: string) => {
      const body = { json: { archiveKey: newArchiveKey(), entries: [hanging] } }
      return (await ask(`${server.url}/trpc/submitArchive`, post(body, { 'x-forwarded-for': address }))).status
    }
    expect(await submit('2001:db8:1:2::1')).toBe(200)
    for (let n = 2; n < 8; n++) expect(await submit(`2001:db8:1:2:${n}::${n}`)).toBe(429)
    expect(await submit('2001:db8:1:3::1')).toBe(200)
    expect(await submit('192.0.2.1')).toBe(200)
    expect(await submit('::ffff:192.0.2.1')).toBe(429)
  })

  it('distinguish pages by scheme if a trusted proxy reports the scheme', async () => {
    const server = await world.start({ SHEAF_TRUST_PROXY: 'true' })
    const origin = server.url.replace('http:', 'https:')
    const asked = async (proto: string) =>
      (await ask(`${server.url}/trpc/serverInfo`, { headers: { origin, 'x-forwarded-proto': proto } })).status
    expect([await asked('https'), await asked('http'), await asked('https, http')]).toEqual([200, 403, 403])
  })
})
