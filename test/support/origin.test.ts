// Shows over real sockets that each part of the test support does what its name says and leaves nothing behind.
import { execFile } from 'node:child_process'
import { access, readdir, readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { crc32, gunzipSync } from 'node:zlib'
import { Agent, request } from 'undici'
import { describe, expect, it } from 'vitest'
import * as behave from './behaviours.ts'
import { startCuttingProxy } from './cutting-proxy.ts'
import { bodyOf, startOrigin } from './origin.ts'
import { tempDirectory } from './temp.ts'
import { listTar, readTar, readZip, verifyZip } from './unpack.ts'
import { until } from './wait.ts'

const run = promisify(execFile)

/** A client for one test, so that no connection outlives the test. */
function client(options: Agent.Options = {}) {
  const agent = new Agent(options)
  return {
    /** Reads the answer to the end of its body. Rejects with undici's errors. */
    async get(url: string, headers: Record<string, string> = {}) {
      const { statusCode, headers: fields, body } = await request(url, { dispatcher: agent, headers })
      return { status: statusCode, headers: fields, body: Buffer.from(await body.arrayBuffer()) }
    },
    head: (url: string) => request(url, { dispatcher: agent, method: 'HEAD' }),
    [Symbol.asyncDispose]: () => agent.destroy(),
  }
}

interface Heard {
  bytes: Buffer
  end: string
}

interface HearOptions {
  /** Hangs up after this time. @default 5000 */
  maxMs?: number
  /** Hangs up when nothing has come for this time after a byte. */
  quietMs?: number
  /** Hangs up after this many bytes. */
  enough?: number
}

/** Reads from a bare socket until the other side closes ('FIN' or the code of the error), or until it hangs up itself. */
async function hear(port: number, path: string, { maxMs = 5000, quietMs, enough }: HearOptions = {}): Promise<Heard> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  const { promise, resolve } = Promise.withResolvers<string>()
  const limit = setTimeout(() => resolve('still open'), maxMs)
  let quiet: NodeJS.Timeout | undefined
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    if (enough !== undefined && socket.bytesRead >= enough) resolve('enough')
    clearTimeout(quiet)
    if (quietMs !== undefined) quiet = setTimeout(() => resolve('still open'), quietMs)
  })
  socket.on('end', () => resolve('FIN'))
  socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  socket.write(`GET ${path} HTTP/1.1\r\nHost: origin\r\n\r\n`)
  const end = await promise
  clearTimeout(limit)
  clearTimeout(quiet)
  socket.destroy()
  return { bytes: Buffer.concat(chunks), end }
}

function bodyIn({ bytes }: Heard): Buffer {
  return bytes.subarray(bytes.indexOf('\r\n\r\n') + 4)
}

describe('the origin', () => {
  it('answers /bytes/<size>/<seed> without being told to', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const small = await http.get(`${origin.url}/bytes/10/a.txt`)
    expect(small).toMatchObject({ status: 200, body: bodyOf(10, 'a') })
    expect(small.headers).toMatchObject({
      'content-length': '10',
      etag: '"10-a"',
      'last-modified': behave.LAST_MODIFIED,
    })
    expect((await http.get(`${origin.url}/bytes/0/a`)).body).toHaveLength(0)
    const large = await http.get(`${origin.url}/bytes/1000003/b`)
    expect(large.body.equals(bodyOf(1000003, 'b'))).toBe(true)
    expect(crc32(bodyOf(1000, 'a'))).not.toBe(crc32(bodyOf(1000, 'b')))
    expect((await http.get(`${origin.url}/elsewhere`)).status).toBe(404)
    const head = await http.head(`${origin.url}/bytes/5000000000/c`)
    expect(head.headers['content-length']).toBe('5000000000')
  })

  it('gives bodies in which no two blocks are equal, so that a misplaced piece shows', () => {
    const body = bodyOf(4 * 65_536, 'x')
    const blocks = [0, 1, 2, 3].map((index) => crc32(body.subarray(index * 65_536, (index + 1) * 65_536)))
    expect(new Set(blocks).size).toBe(4)
    expect(bodyOf(70_000, 'x').equals(body.subarray(0, 70_000))).toBe(true)
  })

  it.each([
    ['bytes=0-0', 0, 1],
    ['bytes=65530-65545', 65_530, 65_546],
    ['bytes=65538-131075', 65_538, 131_076],
    ['bytes=199990-', 199_990, 200_000],
    ['bytes=-7', 199_993, 200_000],
    ['bytes=199999-999999', 199_999, 200_000],
  ])('answers %s with that part of the file', async (range, from, to) => {
    await using origin = await startOrigin()
    await using http = client()
    const file = bodyOf(200_000, 'r')
    const scripted = origin.serve('/scripted', behave.bytes(file))
    for (const url of [`${origin.url}/bytes/200000/r`, scripted]) {
      const part = await http.get(url, { range })
      expect(part.status).toBe(206)
      expect(part.headers['content-range']).toBe(`bytes ${from}-${to - 1}/200000`)
      expect(part.body.equals(file.subarray(from, to))).toBe(true)
    }
  })

  it('answers 416 to a range past the end, and sends the whole file for ranges it does not support', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const url = `${origin.url}/bytes/100/r`
    const past = await http.get(url, { range: 'bytes=100-' })
    expect([past.status, past.headers['content-range']]).toEqual([416, 'bytes */100'])
    for (const range of ['bytes=0-1,5-6', 'bytes=9-3', 'lines=1-2', 'bytes=-']) {
      expect((await http.get(url, { range })).status).toBe(200)
    }
    const rangeless = origin.serve('/none', behave.bytes(bodyOf(100, 'r'), { 'accept-ranges': 'none' }))
    expect((await http.get(rangeless, { range: 'bytes=1-' })).status).toBe(200)
  })

  it('compares If-Range strongly', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const url = `${origin.url}/bytes/100/r`
    const ask = async (condition: string) => (await http.get(url, { range: 'bytes=1-', 'if-range': condition })).status
    expect(await ask('"100-r"')).toBe(206)
    expect(await ask(behave.LAST_MODIFIED)).toBe(206)
    expect(await ask('W/"100-r"')).toBe(200)
    expect(await ask('"other"')).toBe(200)
  })

  it('logs requests and counts them by path', async () => {
    await using origin = await startOrigin()
    await using http = client()
    await http.get(`${origin.url}/bytes/1/a?x=1`, { 'x-mark': 'here' })
    await http.get(`${origin.url}/bytes/1/a?x=2`)
    expect(origin.count('/bytes/1/a')).toBe(2)
    expect(origin.count('/bytes/1/a?x=1')).toBe(1)
    expect(origin.requests[0]).toMatchObject({ path: '/bytes/1/a?x=1', method: 'GET', headers: { 'x-mark': 'here' } })
    expect(origin.requests[1]!.at).toBeGreaterThan(origin.requests[0]!.at)
  })

  it('prefers the most exact of several matching paths', async () => {
    await using origin = await startOrigin()
    await using http = client()
    origin.serve('/a*', behave.status(201))
    origin.serve('/a/b*', behave.status(202))
    origin.serve('/a/b/c', behave.status(203))
    origin.serve('/a/b/c?d', behave.status(299))
    const statuses = ['/a', '/a/b/x', '/a/b/c?other', '/a/b/c?d'].map(
      async (path) => (await http.get(origin.url + path)).status,
    )
    expect(await Promise.all(statuses)).toEqual([201, 202, 203, 299])
  })

  it('answers many requests on one connection, and reports the most that it answered at once', async () => {
    await using origin = await startOrigin()
    await using http = client({ connections: 3 })
    origin.serve('/slow/*', behave.delayed(20, behave.status(204)))
    await Promise.all(Array.from({ length: 12 }, (_, index) => http.get(`${origin.url}/slow/${index}`)))
    expect([origin.openSockets, origin.maxActive, origin.activeRequests]).toEqual([3, 3, 0])
  })

  it('closes its port and all sockets when it is disposed, even if answers hang', async () => {
    const origin = await startOrigin()
    for (const [path, behaviour] of [
      ['/stall', behave.stallBeforeHeaders()],
      ['/endless', behave.endless()],
      ['/gate', behave.gate().behaviour],
    ] as const) {
      origin.serve(path, behaviour)
    }
    const heard = ['/stall', '/endless', '/gate'].map((path) => hear(origin.port, path))
    await until(() => origin.activeRequests === 3, { what: 'three requests' })
    await origin[Symbol.asyncDispose]()
    expect(origin.openSockets).toBe(0)
    for (const { end } of await Promise.all(heard)) expect(['FIN', 'ECONNRESET']).toContain(end)
    expect((await hear(origin.port, '/')).end).toBe('ECONNREFUSED')
    await until(() => origin.activeRequests === 0, { what: 'the behaviours to end' })
  })

  it('notices clients that leave, and throws the errors of behaviours when it is disposed', async () => {
    const origin = await startOrigin()
    origin.serve('/stall', behave.stallBeforeHeaders())
    origin.serve('/wrong', () => Promise.reject(new Error('a mistake in the test')))
    await hear(origin.port, '/stall', { maxMs: 50 })
    await until(() => origin.activeRequests === 0 && origin.openSockets === 0, { what: 'the client to be gone' })
    expect((await hear(origin.port, '/wrong')).end).toBe('ECONNRESET')
    await expect(origin[Symbol.asyncDispose]()).rejects.toMatchObject({
      errors: [{ message: 'a mistake in the test' }],
    })
    await expect(startOrigin({ host: '0.0.0.0' })).rejects.toThrow('not a loopback address')
  })

  it('answers 400 to what is not a request', async () => {
    await using origin = await startOrigin()
    expect((await hear(origin.port, '/ with spaces')).bytes.toString()).toContain('400 Bad Request')
    expect(origin.requests).toHaveLength(0)
  })
})

describe('the origin over TLS', () => {
  it('is trusted by every client that has its CA, and by no other', async () => {
    const origin = await startOrigin({ tls: 'trusted' })
    await using http = client({ connect: { ca: origin.ca } })
    await using stranger = client()
    expect((await http.get(`${origin.url}/bytes/300000/s`)).body.equals(bodyOf(300_000, 's'))).toBe(true)
    await expect(stranger.get(origin.url)).rejects.toMatchObject({ code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
    const { stdout } = await run(
      'curl',
      ['-sS', '--noproxy', '*', '--cacert', origin.caPath!, `${origin.url}/bytes/5/s`],
      { encoding: 'buffer' },
    )
    expect(stdout.equals(bodyOf(5, 's'))).toBe(true)
    origin.serve('/reset', behave.resetAfter(100))
    await expect(http.get(`${origin.url}/reset`)).rejects.toMatchObject({ code: 'ECONNRESET' })
    await origin[Symbol.asyncDispose]()
    expect(origin.openSockets).toBe(0)
    await expect(access(origin.caPath!)).rejects.toThrow('ENOENT')
  })

  it.each([
    ['self-signed', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['expired', 'CERT_HAS_EXPIRED'],
    ['wrong-name', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ] as const)('is refused if its certificate is %s', async (tls, code) => {
    await using origin = await startOrigin({ tls })
    await using http = client({ connect: { ca: origin.ca } })
    await expect(http.get(origin.url)).rejects.toMatchObject({ code })
    expect(origin.requests).toHaveLength(0)
    await until(() => origin.openSockets === 0, { what: 'the refused connection to close' })
  })
})

describe('sound behaviours', () => {
  it('answers with a status, headers and a body', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const url = origin.serve('/x', behave.status(503, { 'retry-after': '7', 'set-cookie': ['a=1', 'b=2'] }, 'busy'))
    const { status, headers, body } = await http.get(url)
    expect([status, headers['retry-after'], headers['set-cookie'], body.toString()]).toEqual([
      503,
      '7',
      ['a=1', 'b=2'],
      'busy',
    ])
    expect((await http.get(origin.serve('/empty', behave.status(204)))).headers).not.toHaveProperty('content-length')
  })

  it('redirects with the status that was asked for', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const { status, headers } = await http.get(origin.serve('/x', behave.redirect('/y', 307)))
    expect([status, headers.location]).toEqual([307, '/y'])
  })

  it('delays an answer, and goes through a sequence whose last behaviour repeats', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const url = origin.serve('/x', behave.sequence(behave.status(500), behave.delayed(100, behave.status(200))))
    const began = performance.now()
    const statuses = [(await http.get(url)).status, (await http.get(url)).status, (await http.get(url)).status]
    expect(statuses).toEqual([500, 200, 200])
    expect(performance.now() - began).toBeGreaterThan(190)
  })

  it('holds requests at a gate until it is opened', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const gate = behave.gate()
    origin.serve('/bytes/*', gate.behaviour)
    const answers = ['a', 'b'].map((seed) => http.get(`${origin.url}/bytes/3/${seed}`))
    await gate.waitFor(2)
    expect(gate.waiting).toBe(2)
    await hear(origin.port, '/bytes/3/c', { maxMs: 50 })
    await until(() => gate.waiting === 2, { what: 'the third to leave' })
    gate.open()
    expect((await Promise.all(answers)).map(({ body }) => body)).toEqual([bodyOf(3, 'a'), bodyOf(3, 'b')])
    expect((await http.get(`${origin.url}/bytes/3/d`)).body).toEqual(bodyOf(3, 'd'))
    expect(gate.waiting).toBe(0)
  })
})

describe('slow behaviours', () => {
  it('stalls before the headers, or after a number of bytes of the body', async () => {
    await using origin = await startOrigin()
    origin.serve('/before', behave.stallBeforeHeaders())
    origin.serve('/after', behave.stallAfter(1234))
    expect(await hear(origin.port, '/before', { maxMs: 200 })).toEqual({ bytes: Buffer.alloc(0), end: 'still open' })
    const after = await hear(origin.port, '/after', { quietMs: 150 })
    expect([bodyIn(after).length, after.end]).toEqual([1234, 'still open'])
  })

  it('sends the whole file a few bytes at a time', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const body = bodyOf(50, 'drip')
    const url = origin.serve('/drip', behave.drip(10, 20, { body }))
    const began = performance.now()
    expect((await http.get(url)).body).toEqual(body)
    expect(performance.now() - began).toBeGreaterThan(75)
  })

  it('sends the headers one byte at a time', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const began = performance.now()
    expect((await http.get(origin.serve('/x', behave.byteTrickleHeaders(2)))).body.toString()).toBe('at last')
    expect(performance.now() - began).toBeGreaterThan(100)
  })
})

describe('behaviours with wrong lengths', () => {
  it('resets or ends after a number of bytes, and honours a range that asks for the rest', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const body = bodyOf(300_000, 'cut')
    origin.serve('/reset', behave.resetAfter(200_000, { body }))
    origin.serve('/fin', behave.finAfter(200_000, { body }))
    for (const [path, end] of [
      ['/reset', 'ECONNRESET'],
      ['/fin', 'FIN'],
    ] as const) {
      const heard = await hear(origin.port, path)
      expect([bodyIn(heard).equals(body.subarray(0, 200_000)), heard.end]).toEqual([true, end])
      await expect(http.get(origin.url + path)).rejects.toThrow()
    }
    const rest = await http.get(`${origin.url}/fin`, { range: 'bytes=200000-' })
    expect([rest.status, rest.body.equals(body.subarray(200_000))]).toEqual([206, true])
  })

  it('gives a file that is cut the same ETag as the sound file, so that a client can resume', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const body = bodyOf(1000, 'whole')
    const url = origin.serve('/x', behave.sequence(behave.finAfter(10, { body }), behave.bytes(body)))
    const heard = await hear(origin.port, '/x')
    const etag = /etag: (\S+)/.exec(heard.bytes.toString('latin1'))![1]!
    expect((await http.get(url, { range: 'bytes=10-', 'if-range': etag })).status).toBe(206)
  })

  it('sends more than it declared, even a whole second response', async () => {
    await using origin = await startOrigin()
    origin.serve('/more', behave.tooLong(50))
    origin.serve('/poison', behave.tooLong('HTTP/1.1 200 OK\r\n\r\n'))
    expect(bodyIn(await hear(origin.port, '/more', { quietMs: 150 }))).toHaveLength(1050)
    expect(bodyIn(await hear(origin.port, '/poison', { quietMs: 150 })).toString('latin1')).toMatch(
      /HTTP\/1.1 200 OK\r\n\r\n$/,
    )
  })

  it('sends endless bodies, but no faster than the client reads', async () => {
    await using origin = await startOrigin()
    origin.serve('/endless', behave.endless())
    origin.serve('/huge', behave.hugeLength(5e9))
    expect((await hear(origin.port, '/endless', { enough: 5e6 })).bytes.toString('latin1', 0, 200)).not.toContain(
      'content-length',
    )
    expect((await hear(origin.port, '/huge', { enough: 5e6 })).bytes.toString('latin1', 0, 200)).toContain(
      'content-length: 5000000000',
    )
    const before = process.memoryUsage().external
    const socket = connect(origin.port, '127.0.0.1').pause()
    socket.write('GET /endless HTTP/1.1\r\n\r\n')
    await sleep(300)
    expect(process.memoryUsage().external - before).toBeLessThan(50e6)
    socket.destroy()
  })
})

describe('behaviours with wrong encodings', () => {
  it('chunks a body, with trailers', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const body = bodyOf(150_000, 'chunked')
    const whole = await http.get(origin.serve('/x', behave.chunked(body, { trailers: { 'x-sum': '1' } })))
    expect([whole.body.equals(body), whole.headers['content-length']]).toEqual([true, undefined])
    expect((await hear(origin.port, '/x', { quietMs: 150 })).bytes.toString('latin1')).toMatch(
      /\r\n0\r\nx-sum: 1\r\n\r\n$/,
    )
  })

  it('cuts a chunked body, or sends a bad chunk size', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const cut = origin.serve('/cut', behave.chunked(bodyOf(1000, 'c'), { truncate: true }))
    const bad = origin.serve('/bad', behave.chunked(bodyOf(1000, 'c'), { badChunk: true }))
    await expect(http.get(cut)).rejects.toMatchObject({ code: 'UND_ERR_SOCKET' })
    await expect(http.get(bad)).rejects.toThrow('Invalid character in chunk size')
  })

  it('sends gzip that nobody asked for, whole or damaged', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const body = Buffer.alloc(10_000, 'abc')
    const whole = await http.get(origin.serve('/whole', behave.gzipped(body)))
    expect(whole.headers['content-encoding']).toBe('gzip')
    expect(gunzipSync(whole.body)).toEqual(body)
    for (const damage of ['corrupt', 'truncate'] as const) {
      const damaged = await http.get(origin.serve(`/${damage}`, behave.gzipped(body, { damage })))
      expect(() => gunzipSync(damaged.body)).toThrow()
    }
  })
})

describe('behaviours with wrong representations', () => {
  it('answers 206 to a request for the whole file', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const body = bodyOf(100, 'p')
    const whole = await http.get(origin.serve('/whole', behave.unasked206(body)))
    expect([whole.status, whole.headers['content-range']]).toEqual([206, 'bytes 0-99/100'])
    const part = await http.get(origin.serve('/part', behave.unasked206(body, { from: 10, to: 20 })))
    expect([part.headers['content-range'], part.body]).toEqual(['bytes 10-19/100', body.subarray(10, 20)])
    const bare = await http.get(origin.serve('/bare', behave.unasked206(body, { bare: true })))
    expect(bare.headers).not.toHaveProperty('content-range')
  })

  it.each([
    ['strong', '"v0"', '"v1"', 200],
    ['weak', 'W/"v0"', 'W/"v1"', 200],
    ['absent', undefined, undefined, 206],
    ['unchanged', '"v"', '"v"', 206],
  ] as const)(
    'changes the file between attempts, with a validator that is %s',
    async (validator, before, after, statusOfRange) => {
      await using origin = await startOrigin()
      await using http = client()
      const [old, fresh] = [bodyOf(1000, 'old'), bodyOf(1200, 'new')]
      const url = origin.serve('/x', behave.changing([old, fresh], { validator }))
      const cut = await hear(origin.port, '/x')
      expect([bodyIn(cut), cut.end]).toEqual([old.subarray(0, 500), 'ECONNRESET'])
      expect(/etag: (\S+)/.exec(cut.bytes.toString('latin1'))?.[1]).toBe(before)
      const resumed = await http.get(url, { range: 'bytes=500-', ...(before && { 'if-range': before }) })
      expect([resumed.status, resumed.headers.etag]).toEqual([statusOfRange, after])
      expect(resumed.body).toEqual(statusOfRange === 206 ? fresh.subarray(500) : fresh)
    },
  )

  it('ignores If-Range if asked to', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const fresh = bodyOf(1200, 'new')
    const behaviour = behave.changing([bodyOf(1000, 'old'), fresh], { ignoreIfRange: true, cut: 'fin' })
    const url = origin.serve('/x', behaviour)
    expect((await hear(origin.port, '/x')).end).toBe('FIN')
    const resumed = await http.get(url, { range: 'bytes=500-', 'if-range': '"v0"' })
    expect([resumed.status, resumed.headers.etag, resumed.body]).toEqual([206, '"v1"', fresh.subarray(500)])
  })

  it.each([
    ['start', 'bytes 499-999/1000', 501],
    ['end', 'bytes 500-998/1000', 499],
    ['total', 'bytes 500-999/1001', 500],
    ['length', 'bytes 500-999/1000', 499],
    ['etag', 'bytes 500-999/1000', 500],
    ['no-range', undefined, 500],
  ] as const)('lies about the %s of a part', async (lie, contentRange, length) => {
    await using origin = await startOrigin()
    await using http = client()
    const url = origin.serve('/x', behave.lying206(bodyOf(1000, 'lie'), lie))
    const cut = await hear(origin.port, '/x')
    expect([bodyIn(cut).length, cut.end]).toEqual([500, 'ECONNRESET'])
    const etag = /etag: (\S+)/.exec(cut.bytes.toString('latin1'))?.[1]
    const part = await http.get(url, { range: 'bytes=500-' })
    expect([part.status, part.headers['content-range'], part.body.length]).toEqual([206, contentRange, length])
    expect(part.headers.etag === etag).toBe(lie !== 'etag')
  })
})

describe('behaviours that break HTTP', () => {
  it('sends more header bytes than a client accepts', async () => {
    await using origin = await startOrigin()
    await using http = client()
    const url = origin.serve('/x', behave.headerBomb())
    await expect(http.get(url)).rejects.toMatchObject({ code: 'UND_ERR_HEADERS_OVERFLOW' })
    expect((await hear(origin.port, '/x', { quietMs: 150 })).bytes.length).toBeGreaterThan(2 ** 20)
  })

  it('sends garbage, a body without a head, or nothing at all', async () => {
    await using origin = await startOrigin()
    await using http = client()
    origin.serve('/garbage', behave.garbage())
    origin.serve('/09', behave.http09())
    origin.serve('/close', behave.closeAtOnce())
    expect((await hear(origin.port, '/garbage')).bytes.toString('latin1', 0, 3)).toBe('SSH')
    expect(await hear(origin.port, '/09')).toEqual({ bytes: bodyOf(1000, 'http09'), end: 'FIN' })
    expect(await hear(origin.port, '/close')).toEqual({ bytes: Buffer.alloc(0), end: 'FIN' })
    for (const path of ['/garbage', '/09', '/close']) await expect(http.get(origin.url + path)).rejects.toThrow()
  })

  it('sends a flood of interim responses before the final one', async () => {
    await using origin = await startOrigin()
    origin.serve('/x', behave.flood1xx(250))
    const { bytes } = await hear(origin.port, '/x', { quietMs: 150 })
    expect(bytes.toString('latin1').match(/^HTTP\/1.1 103 /gm)).toHaveLength(250)
    expect(bytes.toString('latin1')).toMatch(/after the flood$/)
  })

  it('redirects in a loop, into a maze, and with an endless body', async () => {
    await using origin = await startOrigin()
    await using http = client()
    expect((await http.get(origin.serve('/loop', behave.redirectLoop()))).headers.location).toBe('/loop')
    origin.serve('/maze*', behave.redirectMaze())
    const first = (await http.get(`${origin.url}/maze`)).headers.location
    expect((await http.get(origin.url + first)).headers.location).not.toBe(first)
    origin.serve('/x', behave.endless3xxBody('/y'))
    const heard = await hear(origin.port, '/x', { enough: 1e6 })
    expect([heard.bytes.toString('latin1', 0, 200).includes('location: /y'), heard.end]).toEqual([true, 'enough'])
  })
})

describe('the cutting proxy', () => {
  it('forwards, and cuts all open connections on demand', async () => {
    await using origin = await startOrigin()
    await using proxy = await startCuttingProxy({ targetPort: origin.port })
    await using http = client()
    expect((await http.get(`http://127.0.0.1:${proxy.port}/bytes/500000/p`)).body.equals(bodyOf(500_000, 'p'))).toBe(
      true,
    )
    origin.serve('/stall', behave.stallAfter(100))
    const heard = hear(proxy.port, '/stall')
    await until(() => origin.count('/stall') === 1, { what: 'the request' })
    await sleep(50)
    proxy.cutAll()
    expect((await heard).end).toBe('ECONNRESET')
    await until(() => proxy.openConnections === 0 && origin.openSockets === 0, { what: 'all to be cut' })
    expect(proxy.connections).toBe(2)
  })

  it('cuts each connection after a number of bytes, until that is switched off', async () => {
    await using origin = await startOrigin()
    await using proxy = await startCuttingProxy({ targetPort: origin.port })
    proxy.cutAfter(12_345)
    for (let round = 0; round < 2; round += 1) {
      const heard = await hear(proxy.port, '/bytes/500000/p')
      expect([heard.bytes.length, heard.end]).toEqual([12_345, 'ECONNRESET'])
    }
    proxy.cutAfter(null)
    expect(bodyIn(await hear(proxy.port, '/bytes/500000/p', { quietMs: 150 }))).toHaveLength(500_000)
  })

  it('passes on a FIN and a RST', async () => {
    await using origin = await startOrigin()
    await using proxy = await startCuttingProxy({ targetPort: origin.port })
    origin.serve('/fin', behave.finAfter(10))
    origin.serve('/reset', behave.resetAfter(10))
    expect((await hear(proxy.port, '/fin')).end).toBe('FIN')
    expect((await hear(proxy.port, '/reset')).end).toBe('ECONNRESET')
  })

  it('forwards nothing while it is paused, and everything after that', async () => {
    await using origin = await startOrigin()
    await using proxy = await startCuttingProxy({ targetPort: origin.port })
    await using http = client()
    proxy.pause()
    const answer = http.get(`http://127.0.0.1:${proxy.port}/bytes/100/p`)
    await sleep(100)
    expect(origin.requests).toHaveLength(0)
    proxy.resume()
    expect((await answer).body).toEqual(bodyOf(100, 'p'))
  })

  it('refuses connections on demand, and closes all of them when it is disposed, even while paused', async () => {
    await using origin = await startOrigin()
    const proxy = await startCuttingProxy({ targetPort: origin.port })
    proxy.refuse(true)
    expect((await hear(proxy.port, '/')).bytes).toHaveLength(0)
    proxy.refuse(false)
    const socket = connect(proxy.port, '127.0.0.1').on('error', () => {})
    await until(() => proxy.openConnections === 1 && origin.openSockets === 1, { what: 'the connection' })
    proxy.pause()
    const closed = new Promise((resolve) => socket.once('close', resolve))
    await proxy[Symbol.asyncDispose]()
    await closed
    expect(proxy.openConnections).toBe(0)
    expect((await hear(proxy.port, '/')).end).toBe('ECONNREFUSED')
  })
})

describe('the other programs', () => {
  const body = bodyOf(5000, 'member')

  it('accept and read a sound zip, and reject a damaged one with an error that names the program', async () => {
    await using directory = await tempDirectory()
    const path = join(directory.path, 'a.zip')
    const python =
      "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n  z.write(sys.argv[2], 'ä/b.bin'); z.writestr('empty', b'')"
    await writeFile(join(directory.path, 'b.bin'), body)
    await run('python3', ['-c', python, path, join(directory.path, 'b.bin')])
    await verifyZip(path)
    expect(await readZip(path)).toEqual([
      { name: 'ä/b.bin', crc32: crc32(body), size: 5000, body },
      { name: 'empty', crc32: 0, size: 0, body: Buffer.alloc(0) },
    ])
    const damaged = await readFile(path)
    damaged[1000] = damaged[1000]! ^ 1
    await writeFile(path, damaged)
    await expect(verifyZip(path)).rejects.toThrow(/unzip ended with 2: .*bad CRC/s)
    await expect(readZip(path)).rejects.toThrow(/python3 .*Bad CRC-32/s)
  })

  it('report which program is missing', async () => {
    const path = process.env.PATH
    process.env.PATH = '/nowhere'
    try {
      await expect(verifyZip('/a.zip')).rejects.toThrow('unzip is not installed')
    } finally {
      process.env.PATH = path
    }
  })

  it('list and read a tar, compressed or not', async () => {
    await using directory = await tempDirectory()
    await run('mkdir', [join(directory.path, 'ä')])
    await writeFile(join(directory.path, 'ä', 'b.bin'), body)
    for (const [flag, name] of [
      ['-cf', 'a.tar'],
      ['-czf', 'a.tar.gz'],
    ] as const) {
      const path = join(directory.path, name)
      await run('tar', [flag, path, '-C', directory.path, 'ä'])
      expect(await listTar(path)).toEqual(['ä/', 'ä/b.bin'])
      expect(await readTar(path)).toEqual([{ name: 'ä/b.bin', size: 5000, body }])
    }
  })
})

describe('small things', () => {
  it('removes a temporary directory with everything in it', async () => {
    const directory = await tempDirectory()
    await writeFile(join(directory.path, 'x'), 'x')
    expect(await readdir(directory.path)).toEqual(['x'])
    await directory[Symbol.asyncDispose]()
    await expect(access(directory.path)).rejects.toThrow('ENOENT')
  })

  it('waits until a condition is true, or throws an error that names the condition', async () => {
    let calls = 0
    expect(await until(() => ++calls > 2 && 'done', { everyMs: 1, what: 'three calls' })).toBe('done')
    await expect(until(() => 0, { timeoutMs: 30, what: 'a wonder' })).rejects.toThrow(
      'waited 30 ms in vain for a wonder',
    )
    const never = new Promise<boolean>(() => {})
    await expect(until(() => never, { timeoutMs: 30, what: 'a promise' })).rejects.toThrow('in vain for a promise')
    await expect(until(() => Promise.reject(new Error('broken')), { what: 'it' })).rejects.toThrow('broken')
  })
})
