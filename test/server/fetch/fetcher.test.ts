// The fetcher over real sockets, with an origin that misbehaves in every way for which the contract has a code.
import type { LookupAddress } from 'node:dns'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { describe, expect, it } from 'vitest'
import type { BodySink } from '../../../server/fetch/body-sink.ts'
import type { Resolve } from '../../../server/fetch/resolve.ts'
import * as behave from '../../support/behaviours.ts'
import type { Behaviour } from '../../support/exchange.ts'
import { type Fetched, type FetchingOptions, startFetching } from '../../support/fetching.ts'
import { bodyOf, type Origin, startOrigin, type TlsIdentity } from '../../support/origin.ts'
import { until } from '../../support/wait.ts'

const body = bodyOf(100_000, 'file')

/** Fetches one behaviour once. */
async function fetchOnce(behaviour: Behaviour, options: FetchingOptions = {}) {
  await using origin = await startOrigin()
  await using fetching = startFetching(options)
  const fetched = await fetching.fetch(origin.serve('/file', behaviour))
  return { ...fetched, requests: [...origin.requests] }
}

function codeOf({ outcome }: Pick<Fetched, 'outcome'>): string {
  return outcome.ok ? 'ok' : outcome.code
}

/** A resolver that gives its n-th answer to the n-th question. The last answer repeats. */
function resolver(...answers: (string[] | NodeJS.ErrnoException)[]) {
  const asked: string[] = []
  const resolve: Resolve = (hostname, _, callback) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)]!
    asked.push(hostname)
    if (answer instanceof Error) return callback(answer, [])
    callback(
      null,
      answer.map((address): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 })),
    )
  }
  return { resolve, asked }
}

const lookupError = (code: string) => Object.assign(new Error(code), { code, syscall: 'getaddrinfo' })

describe.concurrent('a sound response', () => {
  it.for([0, 1, 65_536, 5_000_000])('of %d bytes is handed over whole', async (size, { expect }) => {
    const sound = bodyOf(size, size)
    const fetched = await fetchOnce(behave.bytes(sound))
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 1 })
    expect(fetched.body.equals(sound)).toBe(true)
    expect(fetched.begins).toEqual([size])
    expect(fetched.fetch).toMatchObject({ attempt: 1 })
  })

  it('comes with the data for its name and date, and with its final URL', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching()
    origin.serve(
      '/to',
      behave.bytes(body, { 'content-type': 'text/x', 'content-disposition': 'attachment; filename=n' }),
    )
    const { outcome } = await fetching.fetch(origin.serve('/from', behave.redirect('/to?q#f')))
    expect(outcome).toMatchObject({
      ok: true,
      attempts: 1,
      finalUrl: new URL(`${origin.url}/to?q#f`),
      contentType: 'text/x',
      contentDisposition: 'attachment; filename=n',
      lastModified: behave.LAST_MODIFIED,
    })
  })

  it('without a length is whole if it ends as its framing says', async ({ expect }) => {
    const headers = { 'content-length': undefined, connection: 'close' }
    const toTheEnd = await fetchOnce(behave.finAfter(body.length, { body, headers }))
    const inChunks = await fetchOnce(behave.chunked(body, { trailers: { etag: '"late"', 'x-t': '1' } }))
    for (const fetched of [toTheEnd, inChunks]) {
      expect(codeOf(fetched)).toBe('ok')
      expect(fetched.begins).toEqual([null])
      expect(fetched.body.equals(body)).toBe(true)
    }
  })

  it('is requested without encoding, referrer or range, and with no cookie but those of its own redirects', async ({
    expect,
  }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching()
    origin.serve('/to', behave.bytes(body))
    const cookies = { location: '/to', 'set-cookie': 'secret=1', 'content-length': '0' }
    await fetching.fetch(origin.serve('/from', behave.status(302, cookies)))
    await fetching.fetch(`${origin.url}/to`)
    const expected = { host: origin.address, 'user-agent': 'sheaf/test', accept: '*/*', 'accept-encoding': 'identity' }
    for (const { headers } of origin.requests) {
      const { connection: _, cookie: __, ...sent } = headers
      expect(sent).toEqual(expected)
    }
    // It is of the chain that set it, and of nothing else.
    expect(origin.requests.map(({ headers }) => headers.cookie)).toEqual([undefined, 'secret=1', undefined])
    expect(origin.requests).toHaveLength(3)
  })

  it('is requested with the query as the URL spells it, and without the fragment', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching()
    origin.serve('/a%20b/*', behave.bytes(body))
    const { outcome } = await fetching.fetch(`${origin.url}/a%20b/c?x=%2F&y=%22#frag`)
    expect(outcome.ok).toBe(true)
    expect(origin.requests.map(({ path }) => path)).toEqual(['/a%20b/c?x=%2F&y=%22'])
  })

  it('may come after some interim responses', async ({ expect }) => {
    const fetched = await fetchOnce(behave.flood1xx(16))
    expect(fetched.body.toString()).toBe('after the flood')
  })

  it('ends where it says: later bytes belong neither to it nor to another request', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ maxFetchesPerOrigin: 1 })
    const poison = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison'
    const urls = [origin.serve('/first', behave.tooLong(poison, { body })), `${origin.url}/bytes/6/other`]
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    const [first, second] = await Promise.all(urls.map((url, index) => fetching.fetch(url, { lane, index })))
    expect(first!.body.equals(body)).toBe(true)
    expect(second!.body.equals(bodyOf(6, 'other'))).toBe(true)
  })
})

describe.concurrent('a failure', () => {
  const short = { headersTimeoutMs: 250, idleTimeoutMs: 250 }
  it.for<[what: string, behaviour: Behaviour, code: string, requests: number, options?: FetchingOptions]>([
    ['a 404', behave.status(404, {}, 'gone'), 'HTTP_STATUS', 1],
    ['a 503, which is asked again', behave.status(503), 'HTTP_STATUS', 2],
    ['a 304 to no question', behave.status(304), 'HTTP_STATUS', 1],
    ['a 204', behave.status(204), 'HTTP_STATUS', 1],
    ['a 302 without a location', behave.status(302), 'HTTP_STATUS', 1],
    ['a 300 with one', behave.redirect('/bytes/1/x', 300), 'HTTP_STATUS', 1],
    ['a 416 to no range', behave.status(416), 'HTTP_STATUS', 1],
    ['an error whose page never ends', behave.sequence(endlessStatus(404)), 'HTTP_STATUS', 1],
    ['an error whose page stalls', stalledStatus(404), 'HTTP_STATUS', 1, { limits: short }],
    ['a loop of redirects', behave.redirectLoop(), 'TOO_MANY_REDIRECTS', 6],
    ['garbage', behave.garbage(), 'BAD_RESPONSE', 1],
    ['a body and no head', behave.http09(), 'BAD_RESPONSE', 1],
    ['a head of a mebibyte', behave.headerBomb(), 'BAD_RESPONSE', 1],
    ['a bad chunk', behave.chunked(body, { badChunk: true }), 'BAD_RESPONSE', 1],
    ['a hang-up instead of an answer', behave.closeAtOnce(), 'CONNECT_FAILED', 2],
    ['a reset in the body', behave.resetAfter(1_000, { body, headers: { etag: undefined } }), 'BODY_TRUNCATED', 2],
    ['an end before the end', behave.finAfter(1_000, { body, headers: { etag: undefined } }), 'BODY_TRUNCATED', 2],
    ['chunks without the last one', behave.chunked(body, { truncate: true }), 'BODY_TRUNCATED', 2],
    ['length and chunks at once', behave.chunked(body, { headers: { 'content-length': '5' } }), 'BAD_RESPONSE', 1],
    ['two lengths', behave.bytes(body, { 'content-length': ['100000', '5'] }), 'BAD_RESPONSE', 1],
    ['another protocol nobody asked for', behave.status(101, { upgrade: 'h2c' }), 'BAD_RESPONSE', 1],
    ['gzip that is none', behave.bytes(body, { 'content-encoding': ['identity', 'gzip'] }), 'BAD_ENCODING', 1],
    ['a coding nobody here undoes', behave.bytes(body, { 'content-encoding': 'compress' }), 'BAD_ENCODING', 1],
    ['a size above the limit', behave.bytes(body), 'ENTRY_TOO_LARGE', 1, { limits: { maxEntryBytes: 99_999 } }],
    ['a body without an end', behave.endless(), 'ENTRY_TOO_LARGE', 1, { limits: { maxEntryBytes: 1_000_000 } }],
    ['no answer', behave.stallBeforeHeaders(), 'HEADERS_TIMEOUT', 2, { limits: short }],
    ['a head in single bytes', behave.byteTrickleHeaders(50), 'HEADERS_TIMEOUT', 2, { limits: short }],
    ['more interim answers than there is a use for', behave.flood1xx(17), 'BAD_RESPONSE', 1],
    ['a flood of them', behave.flood1xx(100_000), 'BAD_RESPONSE', 1],
    ['few of them, with long heads', behave.flood1xx(6, 103, 'h'.repeat(15_000)), 'BAD_RESPONSE', 1],
    ['interim answers only', interimForEver(), 'HEADERS_TIMEOUT', 2, { limits: short }],
    ['a body that stops', noEtag(behave.stallAfter), 'BODY_TOO_SLOW', 2, { limits: short }],
    ['a drip', behave.drip(1, 20, { headers: { etag: undefined } }), 'BODY_TOO_SLOW', 2, { limits: short }],
    ['a part nobody asked for', behave.unasked206(body, { from: 1 }), 'BAD_RESPONSE', 1],
    ['a beginning nobody asked for', behave.unasked206(body, { to: 99_999 }), 'BAD_RESPONSE', 1],
    ['a part that does not say which', behave.unasked206(body, { bare: true }), 'BAD_RESPONSE', 1],
  ])('is reported for %s', async ([, behaviour, code, requests, options], { expect }) => {
    const fetched = await fetchOnce(behaviour, options)
    expect(codeOf(fetched)).toBe(code)
    expect(fetched.requests).toHaveLength(requests)
    expect(fetched.outcome.attempts).toBe(code === 'TOO_MANY_REDIRECTS' ? 1 : requests)
  })

  it('contains the status if that was the reason', async ({ expect }) => {
    expect((await fetchOnce(behave.status(451))).outcome).toEqual({
      ok: false,
      code: 'HTTP_STATUS',
      httpStatus: 451,
      attempts: 1,
    })
    const { outcome } = await fetchOnce(behave.closeAtOnce(), { limits: { maxAttempts: 1 } })
    expect(outcome).toEqual({ ok: false, code: 'CONNECT_FAILED', httpStatus: null, attempts: 1 })
  })

  it('leaves no byte above the limit in the sink', async ({ expect }) => {
    const fetched = await fetchOnce(behave.endless(), { limits: { maxEntryBytes: 500_000 } })
    expect(fetched.body.length).toBeLessThanOrEqual(500_000)
    const atTheLimit = await fetchOnce(behave.bytes(body), { limits: { maxEntryBytes: 100_000 } })
    expect(codeOf(atTheLimit)).toBe('ok')
  })

  it('is not reported if a later attempt succeeds', async ({ expect }) => {
    const fetched = await fetchOnce(behave.sequence(behave.status(503), behave.bytes(body)))
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 2 })
    expect(fetched.body.equals(body)).toBe(true)
  })

  it('is final when the time of the entry is used up, during an attempt or between two', async ({ expect }) => {
    const limits = { entryTimeoutMs: 500, maxAttempts: 5 }
    const underWay = await fetchOnce(behave.drip(10_000, 100), { limits })
    expect(underWay.outcome).toMatchObject({ code: 'ENTRY_TIMEOUT', attempts: 1 })
    // The origin asks for a longer wait than the time that is left.
    const asked = await fetchOnce(behave.status(503, { 'retry-after': '20' }), { limits })
    expect(asked.outcome).toMatchObject({ code: 'HTTP_STATUS', httpStatus: 503, attempts: 1 })
    expect(asked.requests).toHaveLength(1)
  })

  it('is ENTRY_TIMEOUT if the turn for the next attempt does not come in time', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching({
      maxFetches: 1,
      maxInAll: 1,
      limits: { entryTimeoutMs: 700, idleTimeoutMs: 9_000 },
    })
    const hog = behave.gate()
    const first = fetching.fetch(origin.serve('/fails', behave.status(503)))
    await until(() => origin.count('/fails') === 1, { what: 'the first attempt' })
    // It takes the only place while the other one waits to try again, and gives it back when its own time is over.
    await sleep(100)
    const second = fetching.fetch(origin.serve('/hog', hog.behaviour))
    expect((await first).outcome).toMatchObject({ code: 'ENTRY_TIMEOUT', attempts: 1 })
    expect((await second).outcome).toMatchObject({ code: 'ENTRY_TIMEOUT', attempts: 1 })
    expect(origin.count('/fails')).toBe(1)
  })

  it('is reported if nobody listens on the port, or nobody answers the connection', async ({ expect }) => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    await using fetching = startFetching({ connectTimeoutMs: 300, limits: { headersTimeoutMs: 5_000 } })
    // The TLS handshake is never answered, so undici has no connection yet.
    expect(codeOf(await fetching.fetch(`https://127.0.0.1:${port}/`))).toBe('CONNECT_TIMEOUT')
    silent.close()
    expect(codeOf(await fetching.fetch(`http://127.0.0.1:${port}/`))).toBe('CONNECT_FAILED')
  })

  it('comes at once if the process ends', async ({ expect }) => {
    await using fetching = startFetching({ limits: { maxAttempts: 3, entryTimeoutMs: 1_000 } })
    await fetching.cutOff()
    const { outcome } = await fetching.fetch('http://127.0.0.1:1/')
    expect(outcome.ok).toBe(false)
  })
})

/** Answers with a status and an endless body. */
function endlessStatus(code: number): Behaviour {
  return async (exchange) => {
    await exchange.write(`HTTP/1.1 ${code} X\r\nconnection: close\r\n\r\n`)
    for (;;) await exchange.write(Buffer.alloc(65_536))
  }
}

function stalledStatus(code: number, location = ''): Behaviour {
  return async (exchange) => {
    await exchange.write(`HTTP/1.1 ${code} X\r\n${location}content-length: 1000\r\n\r\nfirst bytes`)
    await exchange.gone()
  }
}

function interimForEver(): Behaviour {
  return async (exchange) => {
    for (;;) {
      await exchange.write('HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n')
      await exchange.pause(50)
    }
  }
}

function noEtag(of: typeof behave.stallAfter): Behaviour {
  return of(1_000, { body, headers: { etag: undefined } })
}

describe.concurrent('a body that broke off', () => {
  it('is resumed where it ended if it has a strong ETag, which the request names', async ({ expect }) => {
    const cut = behave.resetAfter(40_000, { body })
    const fetched = await fetchOnce(behave.sequence(cut, behave.bytes(body)))
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 2 })
    expect(fetched.body.equals(body)).toBe(true)
    expect(fetched.begins).toEqual([100_000])
    const { range, 'if-range': ifRange } = fetched.requests[1]!.headers
    const [, from] = /^bytes=(\d+)-$/.exec(range!)!
    expect(Number(from)).toBeGreaterThan(0)
    expect(Number(from)).toBeLessThanOrEqual(40_000)
    expect(ifRange).toMatch(/^"[^"]+"$/)
  })

  it('is resumed again and again', async ({ expect }) => {
    const limits = { maxAttempts: 3, entryTimeoutMs: 20_000 }
    const fetched = await fetchOnce(behave.resetAfter(40_000, { body }), { limits })
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 3 })
    expect(fetched.body.equals(body)).toBe(true)
    expect(fetched.begins).toHaveLength(1)
  })

  it('is resumed even if it stalled, and after an error status in between', async ({ expect }) => {
    const behaviour = behave.sequence(behave.stallAfter(30_000, { body }), behave.status(503), behave.bytes(body))
    const limits = { idleTimeoutMs: 250, maxAttempts: 3, entryTimeoutMs: 20_000 }
    const fetched = await fetchOnce(behaviour, { limits })
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 3 })
    expect(fetched.body.equals(body)).toBe(true)
    expect(fetched.begins).toHaveLength(1)
    expect(fetched.requests.map(({ headers }) => headers.range !== undefined)).toEqual([false, true, true])
  })

  it('still counts its received bytes while the next attempt waits for an answer', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching()
    const again = behave.gate(behave.bytes(body))
    const url = origin.serve('/file', behave.sequence(behave.resetAfter(50_000, { body }), again.behaviour))
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    const { promise, resolve } = Promise.withResolvers<void>()
    let held = 0
    const sink: BodySink = {
      begin: () => {},
      write: ({ length }) => {
        held += length
        return true
      },
      whenReady: (resume) => resume(),
    }
    const fetch = lane.fetch({ index: 0, url: new URL(url), sink, done: () => resolve() })
    await again.waitFor(1)
    expect(fetch).toMatchObject({ attempt: 2, receivedBytes: held, sizeBytes: 100_000 })
    expect(held).toBeGreaterThan(0)
    again.open()
    await promise
    expect(held).toBe(100_000)
  })

  it.for([
    ['a weak ETag', { etag: 'W/"weak"' }],
    ['no ETag', { etag: undefined }],
    ['an ETag that is none', { etag: 'unquoted' }],
  ] as const)('starts over with %s', async ([, headers], { expect }) => {
    const cut = behave.resetAfter(40_000, { body, headers })
    const fetched = await fetchOnce(behave.sequence(cut, behave.bytes(body, headers)))
    expect(codeOf(fetched)).toBe('ok')
    expect(fetched.body.equals(body)).toBe(true)
    expect(fetched.begins).toHaveLength(2)
    expect(fetched.requests[1]!.headers).not.toHaveProperty('range')
  })

  it('starts over if the origin does not support ranges', async ({ expect }) => {
    const headers = { 'accept-ranges': 'none' }
    const cut = behave.resetAfter(40_000, { body, headers })
    const fetched = await fetchOnce(behave.sequence(cut, behave.bytes(body, headers)))
    expect(fetched.body.equals(body)).toBe(true)
    expect(fetched.begins).toHaveLength(2)
  })

  const versions: [Buffer, Buffer] = [bodyOf(100_000, 'old'), bodyOf(90_000, 'new')]
  it.for([
    { validator: 'strong' },
    { validator: 'strong', ignoreIfRange: true },
    { validator: 'weak' },
    { validator: 'absent' },
    { validator: 'absent', cut: 'fin' },
    { validator: 'unchanged' },
    { validator: 'unchanged', ignoreIfRange: true, cut: 'fin' },
  ] as const)('is never joined from two versions, whatever the origin says: %j', async (options, { expect }) => {
    const limits = { maxAttempts: 3, entryTimeoutMs: 20_000 }
    const fetched = await fetchOnce(behave.changing(versions, options), { limits })
    if (!fetched.outcome.ok) expect(fetched.outcome.code).toBe('SOURCE_CHANGED')
    else expect(fetched.body.equals(versions[1])).toBe(true)
  })

  it.for(['start', 'end', 'total', 'length', 'etag', 'no-range'] as const)(
    'is never completed by a part that lies about its %s',
    async (lie, { expect }) => {
      const behaviour = behave.sequence(behave.resetAfter(40_000, { body }), behave.lying206(body, lie))
      const fetched = await fetchOnce(behaviour)
      expect(fetched.outcome.ok).toBe(false)
      expect(fetched.requests[1]!.headers).toHaveProperty('range')
    },
  )

  it('starts over after such a lie, and is right in the end', async ({ expect }) => {
    const lie = behave.lying206(body, 'etag')
    const behaviour = behave.sequence(behave.resetAfter(40_000, { body }), lie, behave.bytes(body))
    const fetched = await fetchOnce(behaviour, { limits: { maxAttempts: 3, entryTimeoutMs: 20_000 } })
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 3 })
    expect(fetched.body.equals(body)).toBe(true)
    expect(fetched.requests[2]!.headers).not.toHaveProperty('range')
  })

  it('starts over if the file has become shorter than the received bytes', async ({ expect }) => {
    const small = bodyOf(10, 'small')
    const etag = '"same"'
    const shrunk: Behaviour = (exchange) =>
      exchange.request.headers.range === undefined
        ? behave.bytes(small)(exchange)
        : behave.status(416, { 'content-range': 'bytes */10' })(exchange)
    const behaviour = behave.sequence(behave.resetAfter(40_000, { body, headers: { etag } }), shrunk)
    const fetched = await fetchOnce(behaviour, { limits: { maxAttempts: 3, entryTimeoutMs: 20_000 } })
    expect(codeOf(fetched)).toBe('ok')
    expect(fetched.body.equals(small)).toBe(true)
  })

  it('may come as a whole under a 206 that nobody asked for', async ({ expect }) => {
    const fetched = await fetchOnce(behave.unasked206(body))
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 1 })
    expect(fetched.body.equals(body)).toBe(true)
  })
})

describe.concurrent('a redirect', () => {
  it.for([301, 302, 303, 307, 308])('with %d is followed', async (code, { expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching()
    origin.serve('/a/to', behave.bytes(body))
    const fetched = await fetching.fetch(origin.serve('/a/from', behave.redirect('to', code)))
    expect(fetched.body.equals(body)).toBe(true)
  })

  it('is followed as often as allowed, and not once more', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ limits: { maxRedirects: 3 } })
    for (const n of [0, 1, 2, 3]) origin.serve(`/${n}`, behave.redirect(`/${n + 1}`))
    origin.serve('/4', behave.bytes(body))
    expect(codeOf(await fetching.fetch(`${origin.url}/1`))).toBe('ok')
    expect(codeOf(await fetching.fetch(`${origin.url}/0`))).toBe('TOO_MANY_REDIRECTS')
    expect(origin.count('/4')).toBe(1)
    origin.serve('/maze*', behave.redirectMaze())
    expect(codeOf(await fetching.fetch(`${origin.url}/maze`))).toBe('TOO_MANY_REDIRECTS')
  })

  it('to a port that is not allowed is refused, and nothing is dialled there', async ({ expect }) => {
    await using inside = await startOrigin()
    await using origin = await startOrigin()
    let connections = 0
    const watched = createServer((socket) => {
      connections++
      socket.destroy()
    }).listen(0, '127.0.0.1')
    await once(watched, 'listening')
    await using fetching = startFetching({ allow: origin.address })
    const { port } = watched.address() as AddressInfo
    for (const target of [`http://127.0.0.1:${port}/`, `http://[::ffff:127.0.0.1]:${port}/`, `//0x7f.1:${port}/`]) {
      const { outcome } = await fetching.fetch(origin.serve('/out', behave.redirect(target)))
      expect(outcome).toMatchObject({ ok: false, code: 'FORBIDDEN_TARGET', attempts: 1, httpStatus: null })
    }
    expect(codeOf(await fetching.fetch(`${inside.url}/bytes/1/x`))).toBe('FORBIDDEN_TARGET')
    watched.close()
    expect(connections).toBe(0)
    expect(inside.requests).toHaveLength(0)
  })

  it('to a closed port cannot be distinguished from one to an open port', async ({ expect }) => {
    await using origin = await startOrigin()
    await using open = await startOrigin({ host: '127.0.0.2' })
    await using fetching = startFetching({ allow: '127.0.0.1' })
    const outcomes = []
    for (const target of [open.url, `http://127.0.0.3:${open.port}`]) {
      outcomes.push((await fetching.fetch(origin.serve('/out', behave.redirect(target)))).outcome)
    }
    expect(outcomes[0]).toEqual({ ok: false, code: 'FORBIDDEN_TARGET', httpStatus: null, attempts: 1 })
    expect(outcomes[1]).toEqual(outcomes[0])
  })

  it.for(['ftp://127.0.0.1/', 'file:///etc/passwd', 'data:,x', 'http://user:pass@127.0.0.1/', 'http://', 'gopher:x'])(
    'to %s is refused',
    async (target, { expect }) => {
      expect(codeOf(await fetchOnce(behave.redirect(target)))).toBe('FORBIDDEN_TARGET')
    },
  )

  it('is followed even if its own body never ends or stalls', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ limits: { idleTimeoutMs: 250 } })
    origin.serve('/to', behave.bytes(body))
    const endless = await fetching.fetch(origin.serve('/endless', behave.endless3xxBody('/to')))
    const stalled = await fetching.fetch(origin.serve('/stalled', stalledStatus(302, 'location: /to\r\n')))
    for (const fetched of [endless, stalled]) {
      expect(codeOf(fetched)).toBe('ok')
      expect(fetched.body.equals(body)).toBe(true)
    }
  })
})

describe.concurrent('an address', () => {
  it.for(['http://127.0.0.1', 'http://[::1]', 'http://0x7f000001', 'http://2130706433', 'http://[::ffff:7f00:1]'])(
    '%s is refused unless it is allowed',
    async (host, { expect }) => {
      await using origin = await startOrigin()
      await using fetching = startFetching({ allow: '' })
      expect(codeOf(await fetching.fetch(`${host}:${origin.port}/bytes/1/x`))).toBe('FORBIDDEN_TARGET')
      expect(origin.requests).toHaveLength(0)
    },
  )

  it('is dialled exactly as it was judged, after one lookup for each connection', async ({ expect }) => {
    await using origin = await startOrigin()
    const { resolve, asked } = resolver(['127.0.0.1'], ['127.0.0.9'])
    await using fetching = startFetching({ resolve, allow: '127.0.0.1' })
    const fetched = await fetching.fetch(`http://origin.test:${origin.port}/bytes/9/x`)
    expect(codeOf(fetched)).toBe('ok')
    expect(asked).toEqual(['origin.test'])
    expect(origin.requests[0]!.headers.host).toBe(`origin.test:${origin.port}`)
  })

  it('is one of the first eight allowed addresses of its name', async ({ expect }) => {
    await using origin = await startOrigin({ host: '127.0.9.1' })
    const closed = (count: number) => Array.from({ length: count }, (_, index) => `127.0.8.${index + 1}`)
    const forbidden = Array.from({ length: 2_000 }, (_, index) => `10.0.${index >> 8}.${index & 255}`)
    const url = `http://many.test:${origin.port}/bytes/9/x`
    const outcomeOf = async (count: number) => {
      const { resolve } = resolver([...forbidden, ...closed(count), '127.0.9.1', ...closed(200)])
      await using fetching = startFetching({ resolve, allow: '127.0.0.0/8', limits: { maxAttempts: 1 } })
      return codeOf(await fetching.fetch(url))
    }
    expect(await outcomeOf(7)).toBe('ok')
    expect(await outcomeOf(8)).toBe('CONNECT_FAILED')
  })

  it('of a name that changes is judged again for each connection', async ({ expect }) => {
    await using origin = await startOrigin()
    await using inside = await startOrigin({ host: '127.0.0.9', port: origin.port })
    const { resolve, asked } = resolver(['127.0.0.1'], ['127.0.0.9'])
    await using fetching = startFetching({ resolve, allow: '127.0.0.1' })
    const url = `http://rebinding.test:${origin.port}/file`
    origin.serve('/file', behave.bytes(body, { connection: 'close' }))
    expect(codeOf(await fetching.fetch(url))).toBe('ok')
    expect(codeOf(await fetching.fetch(url))).toBe('FORBIDDEN_TARGET')
    expect(asked).toHaveLength(2)
    expect(inside.requests).toHaveLength(0)
  })

  it('is dialled only if it is allowed, even if others of its name are', async ({ expect }) => {
    await using inside = await startOrigin({ host: '127.0.0.9' })
    await using origin = await startOrigin({ port: inside.port })
    const { resolve } = resolver(['127.0.0.9', '::1', '127.0.0.1', '10.0.0.1'])
    await using fetching = startFetching({ resolve, allow: '127.0.0.1' })
    const fetched = await fetching.fetch(`http://mixed.test:${origin.port}/bytes/9/x`)
    expect(codeOf(fetched)).toBe('ok')
    expect([origin.requests.length, inside.requests.length]).toEqual([1, 0])
  })

  it('that is forbidden is the reason if its name has no other', async ({ expect }) => {
    const { resolve } = resolver(['127.0.0.1', '10.0.0.1', 'fe80::1%eth0'])
    await using fetching = startFetching({ resolve, allow: '' })
    expect((await fetching.fetch('http://inside.test/')).outcome).toMatchObject({
      code: 'FORBIDDEN_TARGET',
      attempts: 1,
    })
  })

  it('on a port that is not allowed is refused, even if it is public', async ({ expect }) => {
    const { resolve } = resolver(['93.184.215.14'])
    await using fetching = startFetching({ resolve, allow: '' })
    expect(codeOf(await fetching.fetch('http://public.test:22/'))).toBe('FORBIDDEN_TARGET')
  })

  it.for(['ENOTFOUND', 'EAI_AGAIN'])(
    'that cannot be found (%s) is NAME_NOT_RESOLVED, after two attempts',
    async (code, { expect }) => {
      const { resolve, asked } = resolver(lookupError(code))
      await using fetching = startFetching({ resolve })
      const { outcome } = await fetching.fetch('http://nowhere.test/')
      expect(outcome).toEqual({ ok: false, code: 'NAME_NOT_RESOLVED', httpStatus: null, attempts: 2 })
      expect(asked).toHaveLength(2)
    },
  )

  it('that is never answered is CONNECT_TIMEOUT', async ({ expect }) => {
    await using fetching = startFetching({ resolve: () => {}, connectTimeoutMs: 200, limits: { maxAttempts: 1 } })
    expect(codeOf(await fetching.fetch('http://slow.test/'))).toBe('CONNECT_TIMEOUT')
  })
})

describe('TLS', () => {
  it.each<TlsIdentity>(['self-signed', 'expired', 'wrong-name'])(
    'with a %s certificate is TLS_ERROR, after one attempt',
    async (tls) => {
      await using origin = await startOrigin({ tls })
      await using fetching = startFetching(origin.ca === undefined ? {} : { extraCa: [origin.ca] })
      const { outcome } = await fetching.fetch(`${origin.url}/bytes/9/x`)
      expect(outcome).toEqual({ ok: false, code: 'TLS_ERROR', httpStatus: null, attempts: 1 })
      expect(origin.requests).toHaveLength(0)
    },
  )

  it('is TLS_ERROR if the server speaks no TLS, or its certificate has an unknown signer', async () => {
    const plain = createServer((socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(0, '127.0.0.1')
    await once(plain, 'listening')
    await using stranger = await startOrigin({ tls: 'trusted' })
    await using fetching = startFetching()
    const { port } = plain.address() as AddressInfo
    expect(codeOf(await fetching.fetch(`https://127.0.0.1:${port}/`))).toBe('TLS_ERROR')
    plain.close()
    expect(codeOf(await fetching.fetch(`${stranger.url}/bytes/9/x`))).toBe('TLS_ERROR')
  })

  it('works with an added authority, by address and by name, beside the default ones', async () => {
    await using origin = await startOrigin({ tls: 'trusted' })
    await using other = await startOrigin({ tls: 'trusted' })
    const before = getCACertificates('default')
    setDefaultCACertificates([...before, other.ca!])
    try {
      const { resolve } = resolver(['127.0.0.1'])
      await using fetching = startFetching({ extraCa: [origin.ca!], resolve })
      for (const base of [origin.url, `https://origin.test:${origin.port}`, other.url]) {
        const fetched = await fetching.fetch(`${base}/bytes/70000/x`)
        expect(fetched.outcome).toMatchObject({ ok: true })
        expect(fetched.body.equals(bodyOf(70_000, 'x'))).toBe(true)
      }
    } finally {
      setDefaultCACertificates(before)
    }
  })
})

describe('a lane', () => {
  it('ends everything that runs or waits when it is closed, calls nobody back, and leaves no connection', async () => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ maxFetches: 3 })
    const gate = behave.gate()
    const urls = [
      origin.serve('/hanging', gate.behaviour),
      origin.serve('/drip', behave.drip(100, 10)),
      origin.serve('/again', behave.status(500)),
      ...Array.from({ length: 20 }, (_, n) => origin.serve(`/bytes/9/${n}`, gate.behaviour)),
    ]
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    let called = 0
    for (const [index, url] of urls.entries()) void fetching.fetch(url, { lane, index }).then(() => called++)
    await until(() => origin.count('/again') === 1 && origin.activeRequests === 3, { what: 'three to be under way' })
    const asked = origin.requests.length
    lane.close()
    lane.close()
    await until(() => origin.openSockets === 0, { what: 'the connections to be gone' })
    // A second lane fetches now. Anything left of the closed lane would come before it.
    const other = await fetching.fetch(`${origin.url}/bytes/9/other`)
    expect(codeOf(other)).toBe('ok')
    // Longer than the wait before the second attempt.
    await sleep(500)
    expect(called).toBe(0)
    expect(origin.requests.length).toBe(asked + 1)
  })

  it('starts its entries in their order', async () => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ maxFetches: 1 })
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    const order = [3, 0, 4, 1, 2]
    await Promise.all(order.map((index) => fetching.fetch(`${origin.url}/bytes/9/${index}`, { lane, index })))
    expect(origin.requests.map(({ path }) => Number(path.slice(-1)))).toEqual([0, 1, 2, 3, 4])
  })

  it('takes turns with other lanes, however much they have to do', async () => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ maxFetches: 1 })
    const [busy, quick] = [
      fetching.fetcher.openLane({ mayStart: () => true }),
      fetching.fetcher.openLane({ mayStart: () => true }),
    ]
    const waits = Array.from({ length: 20 }, (_, index) =>
      fetching.fetch(`${origin.url}/bytes/9/busy-${index}`, { lane: busy, index }),
    )
    for (const index of [0, 1, 2])
      waits.push(fetching.fetch(`${origin.url}/bytes/9/quick-${index}`, { lane: quick, index }))
    await Promise.all(waits)
    const paths = origin.requests.map(({ path }) => path.split('/')[3]!.split('-')[0])
    expect(paths.slice(0, 6).filter((name) => name === 'quick')).toHaveLength(3)
  })

  it('starts nothing while its owner has no room, and goes on when it is kicked', async () => {
    await using origin = await startOrigin()
    await using fetching = startFetching()
    let room = false
    const lane = fetching.fetcher.openLane({ mayStart: () => room })
    const waiting = fetching.fetch(`${origin.url}/bytes/9/x`, { lane })
    expect(codeOf(await fetching.fetch(`${origin.url}/bytes/9/other`))).toBe('ok')
    expect(origin.count('/bytes/9/x')).toBe(0)
    room = true
    lane.kick()
    expect(codeOf(await waiting)).toBe('ok')
  })
})

describe('the budget', () => {
  async function fetchMany(fetching: ReturnType<typeof startFetching>, origins: Origin[], count: number) {
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    const urls = Array.from({ length: count }, (_, n) => `${origins[n % origins.length]!.url}/slow/${n}`)
    const all = await Promise.all(urls.map((url, index) => fetching.fetch(url, { lane, index })))
    expect(all.map(codeOf)).toEqual(urls.map(() => 'ok'))
  }

  it('is never exceeded at one origin, and is fully used', async () => {
    await using origin = await startOrigin()
    origin.serve('/slow*', behave.delayed(30, behave.bytes(body)))
    await using fetching = startFetching({ maxFetchesPerOrigin: 4 })
    await fetchMany(fetching, [origin], 20)
    expect(origin.maxActive).toBe(4)
  })

  it('is never exceeded in all, however much a single origin may have', async () => {
    await using one = await startOrigin()
    await using other = await startOrigin()
    for (const origin of [one, other]) origin.serve('/slow*', behave.delayed(30, behave.bytes(body)))
    await using fetching = startFetching({ maxFetches: 5, maxFetchesPerOrigin: 4 })
    let most = 0
    const watch = setInterval(() => {
      most = Math.max(most, one.activeRequests + other.activeRequests)
    }, 2)
    await fetchMany(fetching, [one, other], 30)
    clearInterval(watch)
    expect(most).toBe(5)
  })

  it('is not held by entries that wait between attempts', async () => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ maxFetches: 1 })
    const failing = fetching.fetch(origin.serve('/again', behave.sequence(behave.status(500), behave.bytes(body))))
    await until(() => origin.count('/again') === 1, { what: 'the first attempt' })
    const other = fetching.fetch(`${origin.url}/bytes/9/other`)
    expect(await Promise.race([failing.then(() => 'failing'), other.then(() => 'other')])).toBe('other')
    expect(codeOf(await failing)).toBe('ok')
  })

  it('gets every place back, however fetches end', async () => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ maxFetches: 2, limits: { headersTimeoutMs: 200, maxAttempts: 1 } })
    const bad = [behave.stallBeforeHeaders(), behave.garbage(), behave.redirectLoop(), behave.closeAtOnce()]
    const urls = bad.map((behaviour, n) => origin.serve(`/bad/${n}`, behaviour))
    await Promise.all([...urls, ...urls, 'http://10.0.0.1/', 'http://10.0.0.1/'].map((url) => fetching.fetch(url)))
    const gate = behave.gate(behave.bytes(body))
    // The first origin is asked for one file at a time by now.
    await using healthy = await startOrigin()
    const last = [0, 1].map((n) => fetching.fetch(healthy.serve(`/last/${n}`, gate.behaviour)))
    await gate.waitFor(2)
    gate.open()
    expect((await Promise.all(last)).map(codeOf)).toEqual(['ok', 'ok'])
  })
})

describe('a sink that asks for a pause', () => {
  it('gets no more until it is ready, at the cost of no deadline, and then every byte in order', async () => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ limits: { idleTimeoutMs: 300, minBytesPerSecond: 1_000_000 } })
    const large = bodyOf(6_000_000, 'large')
    const chunks: Buffer[] = []
    let paused = false
    let intrusions = 0
    let pauses = 0
    const sink: BodySink = {
      begin: () => {},
      write(chunk, lease) {
        if (paused) intrusions++
        chunks.push(Buffer.from(chunk))
        lease?.release()
        // The first pause is longer than any deadline. The other pauses are short, but many.
        paused = pauses === 0 || chunks.length % 3 === 0
        if (paused) pauses++
        return !paused
      },
      whenReady(resume) {
        const go = () => {
          paused = false
          resume()
        }
        setTimeout(go, pauses === 1 ? 1_200 : 1)
      },
    }
    const { outcome } = await fetching.fetch(origin.serve('/large', behave.bytes(large)), { sink })
    expect(outcome).toMatchObject({ ok: true, attempts: 1 })
    expect(pauses).toBeGreaterThan(3)
    expect(intrusions).toBe(0)
    expect(Buffer.concat(chunks).equals(large)).toBe(true)
  })

  it('holds the origin back', async () => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ limits: { maxEntryBytes: 2 ** 40, idleTimeoutMs: 200 } })
    let received = 0
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    const sink: BodySink = {
      begin: () => {},
      write(chunk, lease) {
        received += chunk.length
        lease?.release()
        return false
      },
      whenReady: () => {},
    }
    lane.fetch({
      index: 0,
      url: new URL(origin.serve('/endless', behave.endless())),
      sink,
      done: () => expect.unreachable(),
    })
    await until(() => received > 0, { what: 'the first bytes' })
    await sleep(1_000)
    expect(received).toBeLessThan(1_000_000)
    lane.close()
    await until(() => origin.openSockets === 0, { what: 'the connection to be gone' })
  })
})
