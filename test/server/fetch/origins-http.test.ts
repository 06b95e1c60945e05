// Origins that break TCP, HTTP or their own promises: the outcome of the entry, the number of requests, and the connection.
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, it } from 'vitest'
import * as behave from '../../support/behaviours.ts'
import { startBlackhole } from '../../support/blackhole.ts'
import type { Behaviour } from '../../support/exchange.ts'
import { type Fetched, type FetchingOptions, startFetching } from '../../support/fetching.ts'
import { bodyOf, startOrigin } from '../../support/origin.ts'

const body = bodyOf(100_000, 'file')

async function fetchOnce(behaviour: Behaviour, options: FetchingOptions = {}) {
  await using origin = await startOrigin()
  await using fetching = startFetching(options)
  const fetched = await fetching.fetch(origin.serve('/file', behaviour))
  return { ...fetched, requests: [...origin.requests] }
}

function codeOf({ outcome }: Pick<Fetched, 'outcome'>): string {
  return outcome.ok ? 'ok' : outcome.code
}

describe.concurrent('a connection', () => {
  it('whose packets are dropped ends in time, and is tried again', async ({ expect }) => {
    await using hole = await startBlackhole()
    await using fetching = startFetching({ connectTimeoutMs: 300 })
    for (const scheme of ['http', 'https']) {
      const { outcome } = await fetching.fetch(`${scheme}://127.0.0.1:${hole.port}/`)
      expect(outcome).toEqual({ ok: false, code: 'CONNECT_TIMEOUT', httpStatus: null, attempts: 2 })
    }
  })

  it('that is refused is tried as often as any other failure', async ({ expect }) => {
    const { port } = await startOrigin().then(async (origin) => {
      await origin[Symbol.asyncDispose]()
      return origin
    })
    await using fetching = startFetching({ limits: { maxAttempts: 3 } })
    const { outcome } = await fetching.fetch(`http://127.0.0.1:${port}/`)
    expect(outcome).toEqual({ ok: false, code: 'CONNECT_FAILED', httpStatus: null, attempts: 3 })
  })

  it('that is reset before an answer is tried again, and may then succeed', async ({ expect }) => {
    const fetched = await fetchOnce(behave.sequence((exchange) => exchange.reset(), behave.bytes(body)))
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 2 })
  })

  it('that the origin closed while it was idle costs no attempt', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ limits: { maxAttempts: 1 } })
    const closing: Behaviour = async (exchange) => {
      await behave.bytes(body)(exchange)
      exchange.close()
    }
    for (let n = 0; n < 5; n++) {
      const fetched = await fetching.fetch(origin.serve(`/${n}`, closing))
      expect(codeOf(fetched)).toBe('ok')
      await sleep(20)
    }
  })
})

describe.concurrent('a status', () => {
  it.for([
    400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 412, 413, 414, 417, 418, 421, 422, 423, 426, 428, 431, 451,
  ])('%d is the origin’s last word', async (code, { expect }) => {
    const { outcome, requests } = await fetchOnce(behave.status(code))
    expect(outcome).toEqual({ ok: false, code: 'HTTP_STATUS', httpStatus: code, attempts: 1 })
    expect(requests).toHaveLength(1)
  })

  it.for([202, 204, 205, 207, 226, 300, 304, 305, 306, 501, 505, 600, 999])(
    '%d gives no file, and is not requested again',
    async (code, { expect }) => {
      const { outcome, requests } = await fetchOnce(behave.status(code, { location: '/bytes/1/x' }))
      expect(outcome).toMatchObject({ ok: false, code: 'HTTP_STATUS', httpStatus: code, attempts: 1 })
      expect(requests).toHaveLength(1)
    },
  )

  it.for([408, 425, 429, 500, 502, 503, 504])(
    '%d may be temporary, and is requested again',
    async (code, { expect }) => {
      const fetched = await fetchOnce(behave.sequence(behave.status(code), behave.bytes(body)))
      expect(fetched.outcome).toMatchObject({ ok: true, attempts: 2 })
      expect(fetched.body.equals(body)).toBe(true)
    },
  )

  it('203, from a proxy that changed the file, is accepted like 200', async ({ expect }) => {
    const changed = behave.status(203, {}, 'changed')
    expect((await fetchOnce(changed)).body.toString()).toBe('changed')
  })

  it.for([
    ['1', 1_000],
    [() => new Date(Date.now() + 2_500).toUTCString(), 1_000],
    ['0', 250],
    ['-5', 250],
    ['soon', 250],
    ['1.5', 250],
    [['1', '9'], 1_000],
  ] as const)(
    '503 with Retry-After %s is requested again, and never too early',
    async ([asked, leastMs], { expect }) => {
      const retryAfter = typeof asked === 'function' ? asked() : asked
      const busy = behave.status(503, { 'retry-after': retryAfter })
      const { outcome, requests } = await fetchOnce(behave.sequence(busy, behave.bytes(body)))
      expect(outcome).toMatchObject({ ok: true, attempts: 2 })
      // Timers may fire a millisecond early.
      expect(requests[1]!.at - requests[0]!.at).toBeGreaterThan(leastMs - 5)
    },
  )

  it('503 with a Retry-After longer than the remaining time ends the entry, which gives its place back', async ({
    expect,
  }) => {
    for (const retryAfter of ['9'.repeat(300), 'Fri, 31 Dec 9999 23:59:59 GMT']) {
      const { outcome, requests } = await fetchOnce(behave.status(503, { 'retry-after': retryAfter }))
      expect(outcome).toEqual({ ok: false, code: 'HTTP_STATUS', httpStatus: 503, attempts: 1 })
      expect(requests).toHaveLength(1)
    }
  })
})

describe.concurrent('a body', () => {
  it('is refused before its first byte if its announced length is too large', async ({ expect }) => {
    for (const size of [2 ** 40, 10 ** 15 - 1, SHORT_LIMIT + 1]) {
      const fetched = await fetchOnce(behave.hugeLength(size))
      expect(fetched.outcome).toMatchObject({ ok: false, code: 'ENTRY_TOO_LARGE', attempts: 1 })
      expect(fetched.begins).toEqual([])
    }
  })

  it.for(['18446744073709551616', '18446744073709551617', '9'.repeat(400)])(
    'with an impossible length (%s) is BAD_RESPONSE',
    async (length, { expect }) => {
      const wrapped = behave.raw(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\nx`)
      expect(codeOf(await fetchOnce(wrapped))).toBe('BAD_RESPONSE')
    },
  )

  it('with an impossible chunk size, or a chunk of another size than it says, is BAD_RESPONSE', async ({ expect }) => {
    const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
    for (const chunks of [
      '10000000000000000\r\n',
      '-1\r\nx\r\n0\r\n\r\n',
      '0x1\r\nx\r\n0\r\n\r\n',
      '1\r\nxy\r\n0\r\n\r\n',
      ' 1\r\nx\r\n0\r\n\r\n',
      '\r\n',
    ]) {
      const { outcome, requests } = await fetchOnce(behave.raw(head, chunks))
      expect({ chunks, ...outcome }).toMatchObject({ chunks, ok: false, code: 'BAD_RESPONSE', attempts: 1 })
      expect(requests).toHaveLength(1)
    }
  })

  it.for([
    ['gzip, chunked', 'BAD_ENCODING'],
    ['gzip', 'BAD_ENCODING'],
    ['chunked, gzip', 'BAD_ENCODING'],
    ['chunked, identity', 'BAD_ENCODING'],
    ['identity', 'ok'],
    ['Chunked', 'ok'],
  ] as const)(
    'with a transfer coding besides chunked never becomes a file (Transfer-Encoding: %s is %s)',
    async ([coding, code], { expect }) => {
      const framed = /chunked$/i.test(coding) ? '5\r\nhello\r\n0\r\n\r\n' : 'hello'
      const closing: Behaviour = async (exchange) => {
        await exchange.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: ${coding}\r\nConnection: close\r\n\r\n${framed}`)
        exchange.close()
      }
      const fetched = await fetchOnce(closing)
      expect(codeOf(fetched)).toBe(code)
      if (fetched.outcome.ok) expect(fetched.body.toString()).toBe('hello')
    },
  )

  // Nobody can notice this: length, range and strong validator are right, and HTTP has no checksum. A strong validator
  // promises that the bytes are the same (RFC 9110 section 8.8.1), so nothing weaker is accepted.
  it('is resumed with other bytes if the origin gives them the same strong ETag', async ({ expect }) => {
    const other = bodyOf(100_000, 'other')
    const headers = { etag: '"same"' }
    const cut = behave.resetAfter(40_000, { body, headers })
    const fetched = await fetchOnce(behave.sequence(cut, behave.bytes(other, headers)))
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 2 })
    expect(fetched.body).toHaveLength(100_000)
  })
})

const SHORT_LIMIT = 8 * 1024 * 1024

describe.concurrent('a head', () => {
  it('with many fields is accepted up to 16 KiB, and is BAD_RESPONSE above', async ({ expect }) => {
    expect((await fetchOnce(behave.manyHeaders(2_000))).body.toString()).toBe('after many headers')
    expect(codeOf(await fetchOnce(behave.manyHeaders(20_000)))).toBe('BAD_RESPONSE')
    expect(codeOf(await fetchOnce(behave.headerBomb(17_000)))).toBe('BAD_RESPONSE')
    expect((await fetchOnce(behave.headerBomb(15_000))).body.toString()).toBe('after the bomb')
  })

  const endless =
    (start: string): Behaviour =>
    async (exchange) => {
      await exchange.write(start)
      for (;;) await exchange.write('x'.repeat(10_000))
    }

  it('with an endless field or name is BAD_RESPONSE', async ({ expect }) => {
    for (const start of ['HTTP/1.1 200 OK\r\n', 'HTTP/1.1 200 OK\r\nx: ', 'HTTP/1.1 103 Early\r\nx: ']) {
      const { outcome, requests } = await fetchOnce(endless(start), { limits: { headersTimeoutMs: 9_000 } })
      expect({ start, outcome }).toMatchObject({ start, outcome: { ok: false, code: 'BAD_RESPONSE', attempts: 1 } })
      expect(requests).toHaveLength(1)
    }
  })

  it('with an endless reason phrase is given up when the time for headers is over', async ({ expect }) => {
    const { outcome } = await fetchOnce(endless('HTTP/1.1 200 '), { limits: { headersTimeoutMs: 300 } })
    expect(outcome).toMatchObject({ ok: false, code: 'HEADERS_TIMEOUT', attempts: 2 })
  })

  it('is also cut if it is an endless trailer after the body', async ({ expect }) => {
    const endless: Behaviour = async (exchange) => {
      await exchange.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n')
      for (let n = 0; ; n++) await exchange.write(`x-${n}: ${'x'.repeat(1_000)}\r\n`)
    }
    expect(codeOf(await fetchOnce(endless))).toBe('BAD_RESPONSE')
  })

  it.for<[what: string, fields: string]>([
    ['a length twice', 'Content-Length: 5\r\nContent-Length: 5\r\n'],
    ['two lengths in one', 'Content-Length: 5, 5\r\n'],
    ['a signed length', 'Content-Length: +5\r\n'],
    ['a negative length', 'Content-Length: -5\r\n'],
    ['a hexadecimal length', 'Content-Length: 0x5\r\n'],
    ['a length in words', 'Content-Length: five\r\n'],
    ['an empty length', 'Content-Length:\r\n'],
    ['length and chunks', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'],
    ['chunks and length', 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n'],
    ['chunks twice', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'],
    ['a transfer coding nobody knows', 'Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n'],
    ['a space before a colon', 'Content-Length : 5\r\n'],
    ['a name with a space', 'Content Length: 5\r\n'],
    ['a folded line', 'x: y\r\n z\r\nContent-Length: 5\r\n'],
    ['a NUL', 'x: \0\r\nContent-Length: 5\r\n'],
    ['a bare CR', 'x: y\rContent-Length: 5\r\n'],
    ['bare line feeds', 'x: y\nContent-Length: 5\n'],
    ['a line without a colon', 'x\r\nContent-Length: 5\r\n'],
  ])('with %s gives its own body or none, and later bytes never count as an answer', async ([, fields], { expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ maxFetchesPerOrigin: 1, limits: { maxAttempts: 1, idleTimeoutMs: 300 } })
    const poison = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison'
    const framed = /chunked\r\n/.test(fields) ? '5\r\nhello\r\n0\r\n\r\n' : 'hello'
    const urls = [
      origin.serve('/first', behave.raw('HTTP/1.1 200 OK\r\n', fields, '\r\n', framed, poison)),
      `${origin.url}/bytes/6/other`,
    ]
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    const [first, second] = await Promise.all(urls.map((url, index) => fetching.fetch(url, { lane, index })))
    if (first!.outcome.ok) expect(first!.body.toString()).toBe('hello')
    expect(codeOf(second!)).toBe('ok')
    expect(second!.body.equals(bodyOf(6, 'other'))).toBe(true)
  })

  it.for<[what: string, bytes: Buffer]>([
    ['a TLS alert', Buffer.from([0x15, 3, 3, 0, 2, 2, 40])],
    ['an HTTP/2 preface', Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])],
    ['a request', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['a version of its own', Buffer.from('HTTP/9.9 200 OK\r\n\r\n')],
    ['an ICY status line', Buffer.from('ICY 200 OK\r\n\r\n')],
    ['a status of two digits', Buffer.from('HTTP/1.1 20 OK\r\n\r\n')],
    ['a status of four', Buffer.from('HTTP/1.1 2000 OK\r\n\r\n')],
    ['a line before the status', Buffer.from('hello\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx')],
  ])('that is %s is BAD_RESPONSE, after one request', async ([, bytes], { expect }) => {
    const { outcome, requests } = await fetchOnce(behave.raw(bytes), { limits: { headersTimeoutMs: 1_000 } })
    expect(outcome).toMatchObject({ ok: false, code: 'BAD_RESPONSE', attempts: 1 })
    expect(requests).toHaveLength(1)
  })
})

describe.concurrent('bytes nobody asked for', () => {
  const poison = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison'

  it.for([
    ['with the answer', 0],
    ['while the connection rests', 40],
  ] as const)('that come %s never become the answer to another request', async ([, afterMs], { expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ maxFetchesPerOrigin: 1 })
    const poisoned: Behaviour = async (exchange) => {
      await behave.bytes(body)(exchange)
      if (afterMs > 0) await exchange.pause(afterMs)
      await exchange.write(poison)
    }
    expect((await fetching.fetch(origin.serve('/first', poisoned))).body.equals(body)).toBe(true)
    await sleep(2 * afterMs)
    const second = await fetching.fetch(`${origin.url}/bytes/6/other`)
    expect(second.outcome.ok).toBe(true)
    expect(second.body.equals(bodyOf(6, 'other'))).toBe(true)
  })

  it.for([204, 304])('after a %d, which has no body, never become an answer either', async (code, { expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ maxFetchesPerOrigin: 1 })
    const bodied = behave.raw(`HTTP/1.1 ${code} X\r\nContent-Length: ${poison.length}\r\n\r\n${poison}`)
    const urls = [origin.serve('/first', bodied), `${origin.url}/bytes/6/other`]
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    const [first, second] = await Promise.all(urls.map((url, index) => fetching.fetch(url, { lane, index })))
    expect(first!.outcome).toMatchObject({ ok: false, code: 'HTTP_STATUS', httpStatus: code })
    expect(second!.body.equals(bodyOf(6, 'other'))).toBe(true)
  })

  it('in the body of a redirect that look like an answer do not become one', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ maxFetchesPerOrigin: 1 })
    origin.serve('/to', behave.bytes(body))
    const redirect = behave.raw(`HTTP/1.1 302 Found\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n${poison}`)
    const fetched = await fetching.fetch(origin.serve('/from', redirect))
    expect(fetched.body.equals(body)).toBe(true)
  })
})
