// Downloads over real sockets that are cut, reset and stalled, and from servers that lie.
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { Agent } from 'undici'
import { describe, expect, it } from 'vitest'
import { type ByteSink, type DownloadError, type DownloadOptions, download } from '../../client-node/download.ts'
import { growing, type ScriptedServer, sealed, startScripted, status } from './scripted-server.ts'
import { patternBytes } from './zip-fixture.ts'

const BODY = patternBytes(300_000)
const FOREVER = 9007199254740991

function memorySink() {
  let chunks: Uint8Array[] = []
  let starts = 0
  const sink: ByteSink = {
    async write(chunk) {
      chunks.push(chunk)
    },
    async startOver() {
      chunks = []
      starts++
    },
  }
  return {
    sink,
    bytes: () => Buffer.concat(chunks),
    startsOver: () => starts,
  }
}

async function run({ url }: ScriptedServer, options: DownloadOptions = {}, { sink, ...memory } = memorySink()) {
  const dispatcher = new Agent()
  try {
    const downloaded = await download(url, sink, dispatcher, { giveUpAfterMs: 5_000, ...options })
    return { ...downloaded, bytes: memory.bytes(), startsOver: memory.startsOver() }
  } finally {
    await dispatcher.destroy()
  }
}

describe('a download', () => {
  it('follows a growing archive to its end', async () => {
    await using server = await startScripted(async (response) => {
      response.writeHead(200, { etag: '"id.1"' })
      for (let at = 0; at < BODY.length; at += 50_000) {
        response.write(BODY.subarray(at, at + 50_000))
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      response.end()
    })
    const told: number[] = []
    const got = await run(server, { onProgress: ({ receivedBytes }) => told.push(receivedBytes) })
    expect(got).toMatchObject({ sizeBytes: BODY.length, etag: '"id.1"', startsOver: 0 })
    expect(got.bytes.equals(BODY)).toBe(true)
    expect(told.at(-1)).toBe(BODY.length)
    expect(told).toEqual(told.toSorted((a, b) => a - b))
  })

  it('stops at an answer that goes on beyond its announced end', async () => {
    await using server = await startScripted((response, { headers }) => {
      if (headers.range === undefined) {
        response.writeHead(200, { etag: '"id.1"' })
        response.write(BODY.subarray(0, 1_000), () => response.destroy())
        return
      }
      // The answer comes in chunks, so only its range says how long it should be.
      response.writeHead(206, { etag: '"id.1"', 'content-range': `bytes 1000-1999/2000` })
      const pour = setInterval(() => response.write(BODY.subarray(0, 10_000)), 5)
      response.on('close', () => clearInterval(pour))
    })
    const memory = memorySink()
    await expect(run(server, {}, memory)).rejects.toMatchObject({ code: 'CORRUPT' })
    expect(memory.bytes().length).toBeLessThanOrEqual(2_000)
  })

  it('goes on where it was cut while the archive grows, as often as it takes', async () => {
    await using server = await startScripted(
      growing(BODY, { until: 100_000, after: 'reset' }),
      growing(BODY, { from: 100_000, until: 100_001, after: 'reset' }),
      growing(BODY, { from: 100_001 }),
    )
    const got = await run(server)
    expect(got.bytes.equals(BODY)).toBe(true)
    expect(got.startsOver).toBe(0)
    expect(server.ranges).toEqual([undefined, `bytes=100000-${FOREVER}`, `bytes=100001-${FOREVER}`])
    expect(server.requests[1]?.headers['if-range']).toBe('"id.1"')
  })

  it('goes on where it was cut if the archive has been sealed meanwhile', async () => {
    await using server = await startScripted(growing(BODY, { until: 100_000, after: 'reset' }), sealed(BODY))
    const got = await run(server)
    expect(got.bytes.equals(BODY)).toBe(true)
    expect(got.startsOver).toBe(0)
  })

  it('goes on in a sealed archive', async () => {
    await using server = await startScripted(sealed(BODY, { until: 200_000, after: 'reset' }), sealed(BODY))
    const got = await run(server)
    expect(got.bytes.equals(BODY)).toBe(true)
    expect(server.ranges).toEqual([undefined, 'bytes=200000-'])
  })

  it('needs nothing more when only the end of the message was cut off', async () => {
    await using server = await startScripted(growing(BODY, { after: 'reset' }), sealed(BODY))
    expect((await run(server)).bytes.equals(BODY)).toBe(true)
  })

  it('starts over if the archive is a different one by now', async () => {
    const other = patternBytes(250_000, 7)
    await using server = await startScripted(
      growing(BODY, { until: 100_000, after: 'reset' }),
      sealed(other, { etag: '"id.2"' }),
    )
    const got = await run(server)
    expect(got).toMatchObject({ sizeBytes: other.length, etag: '"id.2"', startsOver: 1 })
    expect(got.bytes.equals(other)).toBe(true)
  })

  it('starts over if the server sends another part than was asked for', async () => {
    await using server = await startScripted(
      growing(BODY, { until: 100_000, after: 'reset' }),
      growing(BODY, { from: 99_999 }),
      sealed(BODY),
    )
    const got = await run(server)
    expect(got.bytes.equals(BODY)).toBe(true)
    expect(got.startsOver).toBe(1)
    expect(server.ranges).toEqual([undefined, `bytes=100000-${FOREVER}`, undefined])
  })

  it('starts over after a cut under a weak validator', async () => {
    const etag = 'W/"id.1"'
    await using server = await startScripted(
      growing(BODY, { etag, until: 100_000, after: 'reset' }),
      growing(BODY, { etag }),
    )
    const got = await run(server)
    expect(got.bytes.equals(BODY)).toBe(true)
    expect(got.startsOver).toBe(1)
    expect(server.ranges).toEqual([undefined, undefined])
  })

  it('does not start over for ever', async () => {
    await using server = await startScripted(growing(BODY, { etag: 'W/"id.1"', until: 100_000, after: 'reset' }))
    await expect(run(server, { giveUpAfterMs: 60_000 })).rejects.toMatchObject({ code: 'CHANGED' })
  })

  it('does not accept an end that may be a cut', async () => {
    await using server = await startScripted((response) => {
      // An HTTP/1.0 proxy sends neither a length nor chunks: the body ends with the connection.
      response.useChunkedEncodingByDefault = false
      response.shouldKeepAlive = false
      response.writeHead(200, { etag: '"id.1"' })
      response.end(BODY.subarray(0, 120_000))
    }, sealed(BODY))
    const got = await run(server)
    expect(server.requests).toHaveLength(2)
    expect(got.bytes.equals(BODY)).toBe(true)
  })

  it('treats a silent connection as dead and opens another', async () => {
    await using server = await startScripted(growing(BODY, { until: 100_000, after: 'hang' }), sealed(BODY))
    const got = await run(server, { idleTimeoutMs: 200 })
    expect(got.bytes.equals(BODY)).toBe(true)
    expect(got.startsOver).toBe(0)
  })

  it('gives up when no byte comes for too long', async () => {
    await using server = await startScripted(growing(BODY, { until: 100_000, after: 'hang' }), () => {})
    const startedAt = performance.now()
    const failure = run(server, { idleTimeoutMs: 200, giveUpAfterMs: 1_000 })
    await expect(failure).rejects.toMatchObject({ code: 'GAVE_UP' } satisfies Partial<DownloadError>)
    expect(performance.now() - startedAt).toBeLessThan(4_000)
  })

  it('waits as long as the archive needs if it is known to grow', async () => {
    let isGrowing = true
    await using server = await startScripted(
      () => {},
      () => {},
      () => {},
      () => {
        isGrowing = false
      },
    )
    const failure = run(server, { idleTimeoutMs: 200, giveUpAfterMs: 300, isGrowing: () => isGrowing })
    await expect(failure).rejects.toMatchObject({ code: 'GAVE_UP' })
    expect(server.requests.length).toBeGreaterThanOrEqual(4)
  })

  it('tries a busy server again, but not before the time that the server names', async () => {
    await using server = await startScripted(status(503, { 'retry-after': '1' }), status(429), sealed(BODY))
    const startedAt = performance.now()
    expect((await run(server)).bytes.equals(BODY)).toBe(true)
    expect(performance.now() - startedAt).toBeGreaterThan(1_000)
  })

  it('does not wait if a server asks for more time than the client has', async () => {
    await using server = await startScripted(status(503, { 'retry-after': '3600' }))
    await expect(run(server)).rejects.toMatchObject({ code: 'GAVE_UP' })
  })

  it.each([
    [404, 'MISSING'],
    [410, 'MISSING'],
    [302, 'REFUSED'],
    [403, 'REFUSED'],
  ])('ends at once at HTTP %d', async (code, failure) => {
    await using server = await startScripted(status(code))
    await expect(run(server)).rejects.toMatchObject({ code: failure })
    expect(server.requests).toHaveLength(1)
  })

  it('reports that the archive is gone after a cut', async () => {
    await using server = await startScripted(growing(BODY, { until: 100_000, after: 'reset' }), status(404))
    await expect(run(server)).rejects.toMatchObject({ code: 'MISSING' })
  })

  it('ends at once when asked, and hangs up', async () => {
    const hangUp = Promise.withResolvers<void>()
    await using server = await startScripted((response, request) => {
      request.socket.on('close', () => hangUp.resolve())
      void growing(BODY, { until: 100_000, after: 'hang' })(response, request)
    })
    const ending = new AbortController()
    const failure = run(server, { signal: ending.signal, onProgress: () => ending.abort(new Error('enough')) })
    await expect(failure).rejects.toThrow('enough')
    await hangUp.promise
  })

  it('does not ask again if it cannot write', async () => {
    await using server = await startScripted(sealed(BODY))
    const { sink, ...memory } = memorySink()
    const full: ByteSink = { ...sink, write: () => Promise.reject(new Error('no space left')) }
    await expect(run(server, {}, { sink: full, ...memory })).rejects.toMatchObject({
      code: 'NOT_WRITTEN',
      message: 'no space left',
    })
    expect(server.requests).toHaveLength(1)
  })

  it('reads no faster than it is written', async () => {
    const large = patternBytes(16_000_000)
    let sent = 0
    await using server = await startScripted(async (response) => {
      response.writeHead(200, { etag: '"id.1"', 'content-length': large.length })
      const source = new PassThrough()
      source.pipe(response)
      for (; sent < large.length; sent += 100_000) {
        if (!source.write(large.subarray(sent, sent + 100_000))) await once(source, 'drain')
      }
      source.end()
    })
    const { sink, ...memory } = memorySink()
    const gate = Promise.withResolvers<void>()
    const slow: ByteSink = {
      ...sink,
      async write(chunk) {
        await gate.promise
        await sink.write(chunk)
      },
    }
    const running = run(server, {}, { sink: slow, ...memory })
    await new Promise((resolve) => setTimeout(resolve, 500))
    // The kernel's buffers on both sides and one window of ours hold this much. The rest waits at the server.
    expect(sent).toBeLessThan(14_000_000)
    gate.resolve()
    expect((await running).bytes.equals(large)).toBe(true)
  })
})
