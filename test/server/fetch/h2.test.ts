// Origins that speak only HTTP/2: they are recognised, remembered and bounded, and the same promises hold as over HTTP/1.1.
import { constants } from 'node:http2'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { BodySink } from '../../../server/fetch/body-sink.ts'
import { type Fetched, startFetching } from '../../support/fetching.ts'
import { type H2Behaviour, startFrameOrigin, startH2Origin } from '../../support/h2-origin.ts'
import { bodyOf } from '../../support/origin.ts'
import { until } from '../../support/wait.ts'

const body = bodyOf(300_000, 'h2')
const codeOf = ({ outcome }: Fetched) => (outcome.ok ? 'ok' : outcome.code)

const whole =
  (bytes: Buffer = body): H2Behaviour =>
  (stream) => {
    stream.respond({ ':status': 200, 'content-length': bytes.length })
    stream.end(bytes)
  }

describe('an origin that speaks only HTTP/2', () => {
  it('is recognised once, and later connected to directly, with its TLS session resumed', async () => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca] })
    const url = origin.serve('/whole', whole())
    const first = await fetching.fetch(url)
    expect([codeOf(first), first.body.equals(body), first.outcome.attempts]).toEqual(['ok', true, 1])
    expect(origin.refused).toBe(1)
    origin.reset()
    await until(() => origin.openSockets === 0, { what: 'the connection to be gone' })
    const second = await fetching.fetch(url)
    expect([codeOf(second), second.body.equals(body), origin.refused, origin.sessions]).toEqual(['ok', true, 1, 2])
    expect(origin.resumed).toBeGreaterThan(0)
  })

  it('gets no more connections than are allowed, and each serves one request after the other', async () => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca], maxFetchesPerOrigin: 4 })
    const url = origin.serve('/slow', async (stream, headers) => {
      await sleep(20)
      await whole()(stream, headers)
    })
    const fetched = await Promise.all(Array.from({ length: 24 }, () => fetching.fetch(url)))
    expect(fetched.every((each) => each.outcome.ok && each.body.equals(body))).toBe(true)
    expect(origin.maxOpenSockets).toBeLessThanOrEqual(4)
    expect(origin.sessions).toBeLessThanOrEqual(4)
  })

  it('is asked over HTTP/1.1 if it speaks that, too', async () => {
    await using origin = await startH2Origin({ http1: true })
    await using fetching = startFetching({ extraCa: [origin.ca] })
    const fetched = await fetching.fetch(`${origin.url}/either`)
    expect([fetched.body.toString(), origin.requests]).toEqual(['/either', ['1.1 /either']])
  })

  it('is not trusted without a trusted certificate', async () => {
    await using origin = await startH2Origin()
    await using fetching = startFetching()
    expect(codeOf(await fetching.fetch(origin.serve('/whole', whole())))).toBe('TLS_ERROR')
    expect(origin.requests).toEqual([])
  })

  it('is judged again when it is dialled again', async () => {
    await using origin = await startH2Origin()
    let asked = 0
    await using fetching = startFetching({
      extraCa: [origin.ca],
      limits: { maxAttempts: 1 },
      resolve: (_name, _options, callback) =>
        callback(null, [{ address: asked++ === 0 ? '127.0.0.1' : '10.0.0.1', family: 4 }]),
    })
    origin.serve('/whole', whole())
    expect(codeOf(await fetching.fetch(`https://origin.test:${origin.port}/whole`))).toBe('FORBIDDEN_TARGET')
    expect([asked, origin.requests]).toEqual([2, []])
  })

  it('has one deadline for both handshakes together', async () => {
    await using origin = await startH2Origin()
    let connections = 0
    // Each handshake alone would meet the deadline.
    const door = createServer(async (socket) => {
      connections++
      socket.on('error', () => {})
      await sleep(1_600)
      const inner = connect(origin.port, '127.0.0.1')
      inner.on('error', () => socket.destroy())
      socket.pipe(inner).pipe(socket)
    }).listen(0, '127.0.0.1')
    await using fetching = startFetching({
      extraCa: [origin.ca],
      connectTimeoutMs: 3_000,
      limits: { maxAttempts: 1, headersTimeoutMs: 9_000 },
    })
    await until(() => door.listening, { what: 'the door' })
    const { port } = door.address() as { port: number }
    expect(codeOf(await fetching.fetch(`https://127.0.0.1:${port}/`))).toBe('CONNECT_TIMEOUT')
    expect(connections).toBe(2)
    await fetching.cutOff()
    door.close()
  })
})

describe('interim answers over HTTP/2', () => {
  it.each([
    [16, 'ok'],
    [17, 'BAD_RESPONSE'],
  ])('are skipped, %i of them: %s', async (count, code) => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca] })
    const url = origin.serve('/interim', (stream) => {
      for (let n = 0; n < count; n++) stream.additionalHeaders({ ':status': 103, link: '</style.css>' })
      stream.respond({ ':status': 200 })
      stream.end(body)
    })
    expect(codeOf(await fetching.fetch(url))).toBe(code)
  })
})

describe('a body over HTTP/2', () => {
  const half = body.subarray(0, body.length / 2)

  it.each([
    ['with a length, is reset', { 'content-length': body.length }],
    ['without one, is reset', {}],
  ])('that, %s, is truncated', async (_, headers) => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca] })
    const url = origin.serve('/reset', async (stream) => {
      stream.respond({ ':status': 200, ...headers })
      stream.write(half)
      await sleep(50)
      stream.destroy(new Error('reset'))
    })
    const fetched = await fetching.fetch(url)
    expect([codeOf(fetched), fetched.outcome.attempts]).toEqual(['BODY_TRUNCATED', 2])
  })

  it.each([
    ['NO_ERROR', constants.NGHTTP2_NO_ERROR],
    ['CANCEL', constants.NGHTTP2_CANCEL],
    ['INTERNAL_ERROR', constants.NGHTTP2_INTERNAL_ERROR],
  ])('without a length that is reset with %s before its end is truncated', async (_, code) => {
    await using origin = await startFrameOrigin((stream) => {
      stream.head()
      stream.data(bodyOf(40_000, 'cut'))
      stream.reset(code)
    })
    await using fetching = startFetching({ extraCa: [origin.ca], limits: { maxAttempts: 1 } })
    expect(codeOf(await fetching.fetch(`${origin.url}/`))).toBe('BODY_TRUNCATED')
  })

  it('without a length is whole if its end is marked', async () => {
    await using origin = await startFrameOrigin((stream) => {
      stream.head()
      stream.data(bodyOf(40_000, 'told'), true)
    })
    await using fetching = startFetching({ extraCa: [origin.ca], limits: { maxAttempts: 1 } })
    const fetched = await fetching.fetch(`${origin.url}/`)
    expect([codeOf(fetched), fetched.body.equals(bodyOf(40_000, 'told'))]).toEqual(['ok', true])
  })

  it.each([
    ['falls short of its length', -1],
    ['goes beyond it', 1],
  ])('that %s is never accepted', async (_, more) => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca], limits: { maxAttempts: 1 } })
    const url = origin.serve('/wrong', (stream) => {
      stream.respond({ ':status': 200, 'content-length': body.length - more })
      stream.end(body)
    })
    expect((await fetching.fetch(url)).outcome.ok).toBe(false)
  })

  it('is resumed where it broke off if it has a strong validator', async () => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca] })
    const ranges: unknown[] = []
    const url = origin.serve('/resumed', async (stream, { range }) => {
      ranges.push(range)
      const etag = '"v1"'
      if (range !== undefined) {
        const from = Number(/\d+/.exec(range)![0])
        stream.respond({ ':status': 206, etag, 'content-range': `bytes ${from}-${body.length - 1}/${body.length}` })
        return void stream.end(body.subarray(from))
      }
      stream.respond({ ':status': 200, etag, 'content-length': body.length })
      stream.write(half)
      await sleep(50)
      stream.destroy(new Error('reset'))
    })
    const fetched = await fetching.fetch(url)
    expect([codeOf(fetched), fetched.outcome.attempts, fetched.body.equals(body)]).toEqual(['ok', 2, true])
    expect(ranges).toEqual([undefined, `bytes=${half.length}-`])
  })

  it('that is cut with its connection is truncated, and succeeds in the next attempt', async () => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca] })
    let asked = 0
    const url = origin.serve('/cut', async (stream, headers) => {
      if (asked++ > 0) return whole()(stream, headers)
      stream.respond({ ':status': 200 })
      stream.write(half)
      await sleep(50)
      origin.reset()
    })
    const fetched = await fetching.fetch(url)
    expect([codeOf(fetched), fetched.outcome.attempts, fetched.body.equals(body)]).toEqual(['ok', 2, true])
  })

  it('is finished after a GOAWAY that lets it end, and broken by one that ends the connection at once', async () => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca], limits: { maxAttempts: 1 } })
    const goAway = (code: number) => async (stream: Parameters<H2Behaviour>[0]) => {
      stream.respond({ ':status': 200 })
      stream.write(half)
      await sleep(30)
      stream.session?.goaway(code)
      await sleep(30)
      if (!stream.destroyed) stream.end(body.subarray(half.length))
    }
    const finished = await fetching.fetch(origin.serve('/finished', goAway(constants.NGHTTP2_NO_ERROR)))
    expect([codeOf(finished), finished.body.equals(body)]).toEqual(['ok', true])
    const broken = await fetching.fetch(origin.serve('/broken', goAway(constants.NGHTTP2_INTERNAL_ERROR)))
    expect(codeOf(broken)).toBe('BODY_TRUNCATED')
    expect(codeOf(await fetching.fetch(origin.serve('/whole', whole())))).toBe('ok')
  })

  it('that stalls is too slow, and its connection is closed, too', async () => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({
      extraCa: [origin.ca],
      maxFetchesPerOrigin: 1,
      limits: { idleTimeoutMs: 300, maxAttempts: 1 },
    })
    const url = origin.serve('/stalls', (stream) => {
      stream.respond({ ':status': 200 })
      stream.write(half)
    })
    expect(codeOf(await fetching.fetch(url))).toBe('BODY_TOO_SLOW')
    expect(codeOf(await fetching.fetch(origin.serve('/whole', whole())))).toBe('ok')
    expect(origin.sessions).toBe(2)
  })

  it('waits for a sink that pauses, and loses nothing', async () => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca] })
    const large = bodyOf(4_000_000, 'large')
    const chunks: Buffer[] = []
    let isPaused = false
    let intrusions = 0
    const sink: BodySink = {
      begin: () => {},
      write(chunk) {
        if (isPaused) intrusions++
        chunks.push(chunk)
        isPaused = chunks.length % 20 === 0
        return !isPaused
      },
      whenReady: (resume) =>
        setTimeout(() => {
          isPaused = false
          resume()
        }, 5),
    }
    const { outcome } = await fetching.fetch(origin.serve('/large', whole(large)), { sink })
    expect([outcome.ok, intrusions, Buffer.concat(chunks).equals(large)]).toEqual([true, 0, true])
  })

  it('is not whole if trailers come while it is paused, unless every byte was delivered', async () => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca], limits: { maxAttempts: 1 } })
    const url = origin.serve('/trailers', (stream) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-after': 'all' }))
      stream.end(body)
    })
    let bytes = 0
    const sink: BodySink = {
      begin: () => {},
      write(chunk) {
        bytes += chunk.length
        return false
      },
      whenReady: (resume) => setTimeout(resume, 20),
    }
    const { outcome } = await fetching.fetch(url, { sink })
    expect(outcome.ok).toBe(bytes === body.length)
  })
})

describe('a request over HTTP/2', () => {
  it('without an answer is HEADERS_TIMEOUT, and its connection is closed, too', async () => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({
      extraCa: [origin.ca],
      maxFetchesPerOrigin: 1,
      limits: { headersTimeoutMs: 500, maxAttempts: 1 },
    })
    expect(codeOf(await fetching.fetch(origin.serve('/whole', whole())))).toBe('ok')
    expect(codeOf(await fetching.fetch(origin.serve('/silent', () => {})))).toBe('HEADERS_TIMEOUT')
    expect(codeOf(await fetching.fetch(origin.serve('/whole', whole())))).toBe('ok')
    expect(origin.sessions).toBe(2)
  })

  it('that the origin does not let begin is HEADERS_TIMEOUT', async () => {
    await using origin = await startH2Origin({ settings: { maxConcurrentStreams: 0 } })
    await using fetching = startFetching({ extraCa: [origin.ca], limits: { headersTimeoutMs: 300, maxAttempts: 1 } })
    const outcome = codeOf(await fetching.fetch(origin.serve('/never', whole())))
    expect(['HEADERS_TIMEOUT', 'CONNECT_FAILED']).toContain(outcome)
  })

  it('that is cancelled leaves no connection', async () => {
    await using origin = await startH2Origin()
    await using fetching = startFetching({ extraCa: [origin.ca] })
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    let began = 0
    const url = origin.serve('/endless', (stream) => {
      stream.respond({ ':status': 200 })
      stream.write(body)
    })
    const sink: BodySink = { begin: () => void began++, write: () => true, whenReady: () => {} }
    for (let index = 0; index < 3; index++) {
      lane.fetch({ index, url: new URL(url), sink, done: () => expect.unreachable() })
    }
    await until(() => began === 3, { what: 'the bodies to begin' })
    lane.close()
    await until(() => origin.openSockets === 0, { what: 'the connections to be gone' })
    expect(codeOf(await fetching.fetch(origin.serve('/whole', whole())))).toBe('ok')
  })
})
