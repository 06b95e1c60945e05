// Content codings that nobody asked for: real origins send them, and decoding stays within its bounds.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import * as zlib from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { BodySink } from '../../../server/fetch/body-sink.ts'
import { type Coding, codingsToUndo, createDecoder } from '../../../server/fetch/decode.ts'
import { createDecoderSemaphore } from '../../../server/fetch/decoder-semaphore.ts'
import * as behave from '../../support/behaviours.ts'
import type { Behaviour } from '../../support/exchange.ts'
import { type Fetched, type FetchingOptions, startFetching } from '../../support/fetching.ts'
import { bodyOf, startOrigin } from '../../support/origin.ts'
import { until } from '../../support/wait.ts'

/** Every coding can compress it, and it is long enough to be decoded in many pieces. */
const body = Buffer.concat(Array.from({ length: 60 }, (_, n) => bodyOf(20_000, n >> 2)))

const encode: Record<Coding, (plain: Buffer) => Buffer> = {
  gzip: (plain) => zlib.gzipSync(plain),
  deflate: (plain) => zlib.deflateSync(plain),
  br: (plain) => zlib.brotliCompressSync(plain, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }),
  // By default zstd has no checksum, and then not every damage can be found.
  zstd: (plain) => zlib.zstdCompressSync(plain, { params: { [zlib.constants.ZSTD_c_checksumFlag]: 1 } }),
}
const codings = Object.keys(encode) as Coding[]

/** Encodes with these codings, in the order of Content-Encoding. */
function encoded(plain: Buffer, ...order: Coding[]): Buffer {
  return order.reduce((bytes, coding) => encode[coding](bytes), plain)
}

function sent(packed: Buffer, contentEncoding: string | string[], headers: behave.HeaderFields = {}): Behaviour {
  return behave.bytes(packed, { 'content-encoding': contentEncoding, ...headers })
}

const PATIENT = { entryTimeoutMs: 60_000, headersTimeoutMs: 20_000, idleTimeoutMs: 10_000 }

async function fetchOnce(behaviour: Behaviour, options: FetchingOptions & { path?: string } = {}) {
  const { path = '/file', limits, ...more } = options
  await using origin = await startOrigin()
  // All these tests run at once and spend time on packing, so the limits are generous.
  await using fetching = startFetching({ ...more, limits: { ...PATIENT, ...limits } })
  const fetched = await fetching.fetch(origin.serve(path, behaviour))
  return { ...fetched, requests: [...origin.requests] }
}

function codeOf({ outcome }: Pick<Fetched, 'outcome'>): string {
  return outcome.ok ? 'ok' : outcome.code
}

describe('codingsToUndo', () => {
  const named = (path: string, contentType: string | null = null, contentDisposition: string | null = null) => ({
    finalUrl: new URL(path, 'http://origin.test'),
    contentType,
    contentDisposition,
  })

  it.each<[contentEncoding: string | string[] | undefined, expected: Coding[] | null]>([
    [undefined, []],
    ['', []],
    ['identity', []],
    [['identity', ' Identity '], []],
    [', ,', []],
    ['gzip', ['gzip']],
    ['GZip', ['gzip']],
    ['x-gzip', ['gzip']],
    ['identity, gzip', ['gzip']],
    [['identity', 'gzip'], ['gzip']],
    ['deflate', ['deflate']],
    ['br', ['br']],
    ['zstd', ['zstd']],
    ['gzip, br', ['br', 'gzip']],
    [
      ['gzip', 'br, zstd'],
      ['zstd', 'br', 'gzip'],
    ],
    ['gzip, gzip, gzip', ['gzip', 'gzip', 'gzip']],
    ['gzip, gzip, gzip, gzip', null],
    ['compress', null],
    ['gzip, compress', null],
    ...['aes128gcm', 'x-compress', 'dcb', 'dcz', 'exi', 'pack200-gzip', 'bzip2', 'x-bzip2', 'xz', 'lzma', 'lz4'].map(
      (name): [string, null] => [name, null],
    ),
    ['compress, aws-chunked', null],
    ['x-br', null],
    // What no coding is called says nothing about the bytes.
    ...['aws-chunked', 'UTF-8', 'utf8', 'none', 'binary', '8bit', 'text/html', '"gzip"', 'toString', '__proto__'].map(
      (name): [string, Coding[]] => [name, []],
    ),
    ['gzip,aws-chunked', ['gzip']],
    ['aws-chunked, gzip', ['gzip']],
    [
      ['UTF-8', 'br', 'aws-chunked,gzip'],
      ['gzip', 'br'],
    ],
    ['aws-chunked, aws-chunked, aws-chunked, gzip', ['gzip']],
    ['gzip;q=1', ['gzip']],
  ])('reads %j', (contentEncoding, expected) => {
    expect(codingsToUndo(contentEncoding, named('/plain.txt'))).toEqual(expected)
  })

  it.each<[contentEncoding: string, file: ReturnType<typeof named>]>([
    ['gzip', named('/a.tar.gz')],
    ['x-gzip', named('/a.tar.gz', 'application/x-tar')],
    ['gzip', named('/A.TGZ?x=1')],
    ['gzip', named('/data.csv.gz', 'text/csv')],
    ['gzip', named('/image.svgz', 'image/svg+xml')],
    ['gzip', named('/download', 'application/gzip')],
    ['gzip', named('/download.php', 'application/x-gzip; charset=binary')],
    ['gzip', named('/download', 'APPLICATION/X-GZIP')],
    ['gzip', named('/download?id=7', null, 'attachment; filename="a.tar.gz"')],
    ['x-compress', named('/a.tar.Z')],
    ['compress', named('/a', 'application/x-compress')],
    ['bzip2', named('/a.tar.bz2')],
    ['xz', named('/a.tar.xz', 'application/x-tar')],
    ['br', named('/a.br')],
    ['zstd', named('/a.tar.zst', 'application/zstd')],
    ['aws-chunked, gzip', named('/a.tar.gz')],
    ['gzip,aws-chunked', named('/a.tar.gz')],
  ])('treats %s as a part of the file if the file is of that kind: %j', (contentEncoding, file) => {
    expect(codingsToUndo(contentEncoding, file)).toEqual([])
  })

  it.each<[contentEncoding: string, file: ReturnType<typeof named>, expected: Coding[] | null]>([
    ['gzip', named('/a.tar'), ['gzip']],
    ['gzip', named('/a.gz/plain.txt'), ['gzip']],
    ['gzip', named('/plain.txt?as=a.gz'), ['gzip']],
    ['gzip', named('/agz'), ['gzip']],
    ['gzip', named('/a.gz', null, 'attachment; filename=plain.txt'), ['gzip']],
    ['gzip', named('/a.zst'), ['gzip']],
    ['br', named('/a.tar.gz'), ['br']],
    ['bzip2', named('/a.tar.gz'), null],
    ['gzip', named('/a', 'application/gzipped-thing'), ['gzip']],
    ['gzip', named('/a', 'text/gzip'), ['gzip']],
    // A coding around the file's own one has to be undone.
    ['gzip, br', named('/a.tar.gz'), ['br']],
    ['gzip, gzip', named('/a.tar.gz'), ['gzip']],
    ['br, gzip', named('/a.tar.gz'), ['gzip', 'br']],
  ])('undoes %s if it is not part of the file: %j', (contentEncoding, file, expected) => {
    expect(codingsToUndo(contentEncoding, file)).toEqual(expected)
  })
})

describe.concurrent('an encoding nobody asked for', () => {
  it.for([
    ...codings.map((coding) => [coding]),
    ['gzip', 'br'],
    ['deflate', 'zstd'],
    ['br', 'gzip', 'zstd'],
  ] as Coding[][])('is undone: %j', async (order, { expect }) => {
    const packed = encoded(body, ...order)
    const fetched = await fetchOnce(sent(packed, order.join(', ')))
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 1 })
    expect(fetched.body.equals(body)).toBe(true)
    expect(fetched.begins).toEqual([null])
    expect(fetched.requests).toHaveLength(1)
  })

  it.for(['aws-chunked', 'UTF-8', 'none'])('that is called %s is the file as it is', async (name, { expect }) => {
    const fetched = await fetchOnce(sent(body, name))
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 1 })
    expect(fetched.body.equals(body)).toBe(true)
    expect(fetched.begins).toEqual([body.length])
  })

  it('is undone beside a name that means nothing, and still has to be sound', async ({ expect }) => {
    const fetched = await fetchOnce(sent(encoded(body, 'gzip'), 'gzip,aws-chunked'))
    expect(fetched.body.equals(body)).toBe(true)
    expect(codeOf(await fetchOnce(sent(body, 'gzip,aws-chunked')))).toBe('BAD_ENCODING')
  })

  it('is undone with any framing, in pieces of any size, with status 203, and with a whole 206', async ({ expect }) => {
    const small = bodyOf(500, 'small')
    const packed = encoded(small, 'gzip')
    const headers = { 'content-encoding': 'gzip' }
    const ways = [
      behave.chunked(packed, { headers }),
      behave.drip(20, 1, { body: packed, headers }),
      behave.unasked206(packed, { headers }),
      behave.finAfter(packed.length, { body: packed, headers: { ...headers, 'content-length': undefined } }),
    ]
    for (const way of ways) {
      const fetched = await fetchOnce(way)
      expect(codeOf(fetched)).toBe('ok')
      expect(fetched.body.equals(small)).toBe(true)
    }
  })

  it('may be raw deflate, which some servers send as "deflate"', async ({ expect }) => {
    const fetched = await fetchOnce(sent(zlib.deflateRawSync(body), 'deflate'))
    expect(fetched.body.equals(body)).toBe(true)
    const wrapped = await fetchOnce(sent(encoded(zlib.deflateRawSync(body), 'gzip'), 'deflate, gzip'))
    expect(wrapped.body.equals(body)).toBe(true)
  })

  it('may contain an empty file, but may not be empty itself', async ({ expect }) => {
    for (const coding of codings) {
      const fetched = await fetchOnce(sent(encoded(Buffer.alloc(0), coding), coding))
      expect(fetched.outcome.ok).toBe(true)
      expect(fetched.body).toHaveLength(0)
      expect(codeOf(await fetchOnce(sent(Buffer.alloc(0), coding)))).toBe('BAD_ENCODING')
    }
  })

  it('may come in several members (RFC 1952) or frames (RFC 8878), cut anywhere', async ({ expect }) => {
    for (const coding of ['gzip', 'zstd'] as const) {
      const [one, two] = [encoded(body.subarray(0, 70_000), coding), encoded(body.subarray(70_000), coding)]
      const packed = Buffer.concat([one, two])
      const atOnce = await fetchOnce(sent(packed, coding))
      const inTwo = await fetchOnce(async (exchange) => {
        await exchange.write(
          `HTTP/1.1 200 OK\r\ncontent-encoding: ${coding}\r\ncontent-length: ${packed.length}\r\n\r\n`,
        )
        await exchange.write(one)
        await exchange.pause(50)
        await exchange.write(two)
      })
      for (const fetched of [atOnce, inTwo]) expect(fetched.body.equals(body)).toBe(true)
    }
  })

  it('is left alone if it is the file itself, which can then be resumed like any other', async ({ expect }) => {
    const packed = encoded(body, 'gzip')
    const headers = { 'content-encoding': 'gzip' }
    const behaviour = behave.sequence(behave.resetAfter(40_000, { body: packed, headers }), sent(packed, 'gzip'))
    const fetched = await fetchOnce(behaviour, { path: '/file.tar.gz' })
    expect(fetched.outcome).toMatchObject({ ok: true, attempts: 2 })
    expect(fetched.begins).toEqual([packed.length])
    expect(fetched.body.equals(packed)).toBe(true)
    expect(fetched.requests[1]!.headers).toHaveProperty('range')
  })
})

describe.concurrent('an encoded body', () => {
  it.for(
    codings.flatMap((coding) =>
      (['cut', 'damaged', 'followed', 'zeros', 'one more byte'] as const).map((how) => [coding, how] as const),
    ),
  )(
    'in %s that is damaged (%s) is BAD_ENCODING although its framing is sound, and is not tried again',
    async ([coding, how], { expect }) => {
      const sound = encoded(body, coding)
      const damaged = Buffer.from(sound)
      // The damage goes to the end, because brotli has no checksum and accepts whatever it can still read.
      damaged.fill(0xff, damaged.length >> 1)
      const bad = {
        cut: sound.subarray(0, -1),
        damaged,
        followed: Buffer.concat([sound, Buffer.from('and more')]),
        zeros: Buffer.concat([sound, Buffer.alloc(100_000)]),
        // This is the incomplete beginning of another gzip member or zlib header.
        'one more byte': Buffer.concat([sound, sound.subarray(0, 1)]),
      }[how]
      const fetched = await fetchOnce(sent(bad, coding))
      expect(fetched.outcome).toMatchObject({ ok: false, code: 'BAD_ENCODING', attempts: 1 })
      expect(fetched.requests).toHaveLength(1)
    },
  )

  it('inside another one is BAD_ENCODING, too, if it is damaged', async ({ expect }) => {
    const cut = encoded(encoded(body, 'br').subarray(0, -1), 'gzip')
    expect(codeOf(await fetchOnce(sent(cut, 'br, gzip')))).toBe('BAD_ENCODING')
    const nothing = encoded(Buffer.alloc(0), 'gzip')
    expect(codeOf(await fetchOnce(sent(nothing, 'br, gzip')))).toBe('BAD_ENCODING')
  })

  it('with a larger window than content codings may use is BAD_ENCODING', async ({ expect }) => {
    const { ZSTD_c_windowLog, ZSTD_c_contentSizeFlag } = zlib.constants
    const packed = await new Promise<Buffer>((resolve) => {
      const parts: Buffer[] = []
      const stream = zlib.createZstdCompress({ params: { [ZSTD_c_windowLog]: 27, [ZSTD_c_contentSizeFlag]: 0 } })
      stream.on('data', (part) => parts.push(part)).on('end', () => resolve(Buffer.concat(parts)))
      stream.end(body)
    })
    expect(codeOf(await fetchOnce(sent(packed, 'zstd')))).toBe('BAD_ENCODING')
  })

  it('that is cut by the connection is BODY_TRUNCATED, and requested again from the start, never by a range', async ({
    expect,
  }) => {
    const packed = encoded(body, 'gzip')
    const headers = { 'content-encoding': 'gzip' }
    for (const cut of [behave.resetAfter, behave.finAfter]) {
      const again = await fetchOnce(behave.sequence(cut(60_000, { body: packed, headers }), sent(packed, 'gzip')))
      expect(again.outcome).toMatchObject({ ok: true, attempts: 2 })
      expect(again.body.equals(body)).toBe(true)
      expect(again.begins).toEqual([null, null])
      for (const request of again.requests) expect(request.headers).not.toHaveProperty('range')
      expect(codeOf(await fetchOnce(cut(60_000, { body: packed, headers })))).toBe('BODY_TRUNCATED')
    }
  })

  it('never continues a body that came without encoding', async ({ expect }) => {
    const plain = behave.resetAfter(40_000, { body, headers: { etag: '"same"' } })
    // One strong ETag may have one encoding only (RFC 9110 section 8.8.3.3). This origin breaks that rule.
    const part: Behaviour = (exchange) => behave.bytes(body, { etag: '"same"', 'content-encoding': 'gzip' })(exchange)
    const fetched = await fetchOnce(behave.sequence(plain, part))
    expect(fetched.outcome).toMatchObject({ ok: false, code: 'SOURCE_CHANGED', attempts: 2 })
  })

  it('counts towards the limit with its decoded size', async ({ expect }) => {
    const packed = encoded(body, 'gzip')
    const atTheLimit = await fetchOnce(sent(packed, 'gzip'), { limits: { maxEntryBytes: body.length } })
    expect(codeOf(atTheLimit)).toBe('ok')
    const above = await fetchOnce(sent(packed, 'gzip'), { limits: { maxEntryBytes: body.length - 1 } })
    expect(above.outcome).toMatchObject({ ok: false, code: 'ENTRY_TOO_LARGE', attempts: 1 })
    expect(above.body.length).toBeLessThan(body.length)
  })

  it.for(codings)('in %s that is a bomb is cut at the limit', async (coding, { expect }) => {
    const bomb = encoded(Buffer.alloc(20_000_000), coding)
    const fetched = await fetchOnce(sent(bomb, coding), { limits: { maxEntryBytes: 1_000_000 } })
    expect(fetched.outcome).toMatchObject({ ok: false, code: 'ENTRY_TOO_LARGE', attempts: 1 })
    expect(fetched.body.length).toBeLessThanOrEqual(1_000_000)
  })

  it('that is endless but decodes to nothing is cut at the limit, too', async ({ expect }) => {
    // An endless sequence of empty stored blocks (RFC 1951 section 3.2.4).
    const block = Buffer.from('000000ffff'.repeat(10_000), 'hex')
    const endless: Behaviour = async (exchange) => {
      await exchange.write(
        'HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\nconnection: close\r\n\r\n',
        Buffer.from([0x78, 0x9c]),
      )
      for (;;) await exchange.write(block)
    }
    const fetched = await fetchOnce(endless, { limits: { maxEntryBytes: 5_000_000 } })
    expect(codeOf(fetched)).toBe('ENTRY_TOO_LARGE')
    expect(fetched.body).toHaveLength(0)
  })

  it('reports its decoded bytes while it comes, and no total size', async ({ expect }) => {
    await using origin = await startOrigin()
    await using fetching = startFetching()
    const packed = encoded(body, 'gzip')
    const rest = behave.gate(async () => {})
    const url = origin.serve('/file', async (exchange) => {
      await exchange.write(`HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${packed.length}\r\n\r\n`)
      await exchange.write(packed.subarray(0, -10))
      await rest.behaviour(exchange)
      await exchange.write(packed.subarray(-10))
    })
    let held = 0
    const sink: BodySink = {
      begin: (sizeBytes, etag) => expect([sizeBytes, etag]).toEqual([null, null]),
      write: ({ length }) => {
        held += length
        return true
      },
      whenReady: (resume) => resume(),
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    const fetch = lane.fetch({ index: 0, url: new URL(url), sink, done: () => resolve() })
    await until(() => held > body.length - 100_000, { what: 'most of the body' })
    expect(fetch.receivedBytes).toBe(held)
    expect(fetch.sizeBytes).toBeNull()
    rest.open()
    await promise
    expect(held).toBe(body.length)
  })

  it('keeps its deadlines by received bytes and not by decoded ones', async ({ expect }) => {
    // It comes at 5 bytes each 20 ms, which is too slow, though they decode to a thousand times as many.
    const bomb = encoded(Buffer.alloc(10_000_000), 'gzip')
    const slow = behave.drip(5, 20, { body: bomb, headers: { 'content-encoding': 'gzip' } })
    const limits = { idleTimeoutMs: 300, minBytesPerSecond: 10_000, maxEntryBytes: 2 ** 40, maxAttempts: 1 }
    expect(codeOf(await fetchOnce(slow, { limits }))).toBe('BODY_TOO_SLOW')
  })
})

describe('a sink that takes encoded bodies slowly', () => {
  it('gets no more until it is ready, at the cost of no deadline, and then every byte in order', async () => {
    const large = Buffer.concat([body, body, body, body])
    await using origin = await startOrigin()
    await using fetching = startFetching({ limits: { idleTimeoutMs: 300, minBytesPerSecond: 1_000_000 } })
    const chunks: Buffer[] = []
    let paused = false
    let intrusions = 0
    let pauses = 0
    const sink: BodySink = {
      begin: () => {},
      write(chunk) {
        if (paused) intrusions++
        chunks.push(chunk)
        paused = pauses === 0 || chunks.length % 10 === 0
        if (paused) pauses++
        return !paused
      },
      whenReady(resume) {
        setTimeout(
          () => {
            paused = false
            resume()
          },
          pauses === 1 ? 1_000 : 1,
        )
      },
    }
    const packed = encoded(large, 'br', 'gzip')
    const { outcome } = await fetching.fetch(origin.serve('/large', sent(packed, 'br, gzip')), { sink })
    expect(outcome).toMatchObject({ ok: true, attempts: 1 })
    expect(pauses).toBeGreaterThan(3)
    expect(intrusions).toBe(0)
    expect(Buffer.concat(chunks).equals(large)).toBe(true)
  })

  it('may take longer for a body that has come whole than an origin may be silent', async () => {
    const zeros = Buffer.alloc(1_000_000)
    let received = 0
    const sink: BodySink = {
      begin: () => {},
      write: ({ length }) => {
        received += length
        return received > 500_000
      },
      whenReady: (resume) => void setTimeout(resume, 60),
    }
    await using origin = await startOrigin()
    await using fetching = startFetching({ limits: { idleTimeoutMs: 300 } })
    const url = origin.serve('/zeros', sent(encoded(zeros, 'gzip'), 'gzip'))
    expect((await fetching.fetch(url, { sink })).outcome).toMatchObject({ ok: true, attempts: 1 })
    expect(received).toBe(zeros.length)
  })

  it('holds back both the decoder of a bomb and the origin, and leaves nothing behind when it ends', async () => {
    await using origin = await startOrigin()
    await using fetching = startFetching({ limits: { maxEntryBytes: 2 ** 40, idleTimeoutMs: 200 } })
    const member = encoded(Buffer.alloc(5_000_000), 'gzip')
    let sentBytes = 0
    const url = origin.serve('/endless', async (exchange) => {
      await exchange.write('HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n')
      for (;;) {
        await exchange.write(member)
        sentBytes += member.length
      }
    })
    let received = 0
    const resumes: (() => void)[] = []
    const sink: BodySink = {
      begin: () => {},
      write(chunk) {
        received += chunk.length
        return false
      },
      whenReady: (resume) => {
        resumes.push(resume)
      },
    }
    const lane = fetching.fetcher.openLane({ mayStart: () => true })
    lane.fetch({ index: 0, url: new URL(url), sink, done: () => expect.unreachable() })
    await until(() => received > 0, { what: 'the first bytes' })
    let before = -1
    // The origin stops when the kernel's buffers are full.
    await until(
      () => {
        const still = before === sentBytes
        before = sentBytes
        return still
      },
      { everyMs: 300, what: 'the origin to be held back' },
    )
    expect(received).toBeLessThan(1_000_000)
    lane.close()
    await until(() => origin.openSockets === 0, { what: 'the connection to be gone' })
    const atItsEnd = received
    for (const resume of resumes) resume()
    await sleep(100)
    expect(received).toBe(atItsEnd)
    await until(() => !process.getActiveResourcesInfo().includes('ZLIB'), { what: 'no decoder at work' })
  })
})

describe('createDecoder', () => {
  const collecting = (wanted: Coding[], semaphore = createDecoderSemaphore(), maxEntryBytes = 2 ** 30) => {
    const { promise, resolve } = Promise.withResolvers<string>()
    const chunks: Buffer[] = []
    const decoder = createDecoder({
      codings: wanted,
      sink: { write: (chunk) => chunks.push(chunk) > 0, whenReady: (resume) => resume() },
      maxEntryBytes,
      semaphore,
      lane: {},
      done: (code) => resolve(code ?? 'ok'),
    })
    return { decoder, done: promise, body: () => Buffer.concat(chunks), chunks }
  }

  it('decodes any file in any codings, however it is cut, and ends for any bytes at all', async () => {
    const damage = fc.record({ at: fc.nat(), bytes: fc.uint8Array({ maxLength: 4 }), drop: fc.nat({ max: 3 }) })
    const order = fc.array(fc.constantFrom(...codings), { minLength: 1, maxLength: 3 })
    const cuts = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 })
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 900 }),
        order,
        cuts,
        fc.option(damage),
        async (bytes, applied, sizes, harm) => {
          const plain = Buffer.from(bytes)
          let packed = encoded(plain, ...applied)
          if (harm !== null) {
            const at = harm.at % (packed.length + 1)
            packed = Buffer.concat([packed.subarray(0, at), harm.bytes, packed.subarray(at + harm.drop)])
          }
          const {
            decoder,
            done,
            body: decoded,
          } = collecting(applied.toReversed(), createDecoderSemaphore({ max: 3 }), 100_000)
          for (let at = 0, n = 0; at < packed.length; n++) {
            const end = at + sizes[n % sizes.length]!
            decoder.write(packed.subarray(at, end))
            at = end
          }
          decoder.end()
          const outcome = await done
          if (harm === null) expect([outcome, decoded().equals(plain)]).toEqual(['ok', true])
          else expect(['ok', 'BAD_ENCODING', 'ENTRY_TOO_LARGE']).toContain(outcome)
          expect(decoded().length).toBeLessThanOrEqual(100_000)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('does not use the memory that it was given after write returns', async () => {
    const { decoder, done, body: decoded } = collecting(['gzip'])
    const packed = encoded(body, 'gzip')
    const slab = Buffer.alloc(10_000)
    for (let at = 0; at < packed.length; at += slab.length) {
      const length = packed.copy(slab, 0, at)
      if (!decoder.write(slab.subarray(0, length))) await new Promise<void>((resolve) => decoder.whenReady(resolve))
      slab.fill(0xee)
    }
    decoder.end()
    expect(await done).toBe('ok')
    expect(decoded().equals(body)).toBe(true)
  })

  it('hands over small bodies in memory that is no larger than they are', async () => {
    const { decoder, done, chunks } = collecting(['gzip'])
    decoder.write(encoded(bodyOf(10_000, 'small'), 'gzip'))
    decoder.end()
    await done
    expect(chunks.map(({ buffer }) => buffer.byteLength)).toEqual([10_000])
  })

  it('asks for a pause before many bytes wait', async () => {
    const { decoder, done } = collecting(['deflate'])
    const packed = encoded(bodyOf(4_000_000, 'noise'), 'deflate')
    let most = 0
    let waiting = 0
    for (let at = 0; at < packed.length; at += 50_000) {
      const chunk = packed.subarray(at, at + 50_000)
      waiting += chunk.length
      most = Math.max(most, waiting)
      if (decoder.write(chunk)) continue
      await new Promise<void>((resolve) => decoder.whenReady(resolve))
      waiting = 0
    }
    decoder.end()
    expect(await done).toBe('ok')
    expect(most).toBeLessThan(300_000)
  })

  it('holds a permit for a small body only while it is decoded, and none before it is whole', async () => {
    const semaphore = createDecoderSemaphore({ max: 1 })
    const dripping = Array.from({ length: 40 }, () => collecting(['br'], semaphore))
    const packed = encoded(body, 'br')
    for (const { decoder } of dripping) expect(decoder.write(packed.subarray(0, 1_000))).toBe(true)
    expect(semaphore.isContended).toBe(false)
    const whole = [
      collecting(['br'], semaphore),
      collecting(['zstd'], semaphore),
      collecting(['zstd', 'gzip'], semaphore),
    ]
    for (const [n, bytes] of [packed, encoded(body, 'zstd'), encoded(body, 'gzip', 'zstd')].entries()) {
      whole[n]!.decoder.write(bytes)
      whole[n]!.decoder.end()
    }
    for (const { done, body: decoded } of whole) {
      expect(await done).toBe('ok')
      expect(decoded().equals(body)).toBe(true)
    }
    for (const { decoder } of dripping) decoder.write(packed.subarray(1_000))
    for (const { decoder } of dripping) decoder.end()
    for (const { done } of dripping) expect(await done).toBe('ok')
  })

  /** Too large to be collected whole before a permit is asked for. */
  const large = encoded(randomBytes(200_000), 'br')

  it('pauses a large body until there is a permit, or until the body is whole', async () => {
    const semaphore = createDecoderSemaphore({ max: 2, maxOpen: 1 })
    const [first, second] = [collecting(['br'], semaphore), collecting(['br'], semaphore)]
    expect(first.decoder.write(large.subarray(0, 150_000))).toBe(false)
    expect(second.decoder.write(large.subarray(0, 150_000))).toBe(false)
    await until(() => first.decoder.decodedBytes > 0, { what: 'the first to be decoded' })
    expect([second.decoder.decodedBytes, semaphore.isContended]).toEqual([0, true])
    second.decoder.write(large.subarray(150_000))
    second.decoder.end()
    expect(await second.done).toBe('ok')
    expect(first.decoder.decodedBytes).toBeLessThan(200_000)
    first.decoder.destroy()
    expect(semaphore.isContended).toBe(false)
  })

  it('keeps its permit only while bytes come, if others wait', async () => {
    const semaphore = createDecoderSemaphore({ max: 2, maxOpen: 1 })
    const [slow, waiting] = [collecting(['br'], semaphore), collecting(['br'], semaphore)]
    slow.decoder.write(large.subarray(0, 140_000))
    const idle = () => slow.decoder.decodedBytes > 100_000
    await until(idle, { what: 'it to be decoded' })
    await sleep(100)
    for (const nowMs of [1_000, 20_000, 60_000]) expect(slow.decoder.keepsPermit(nowMs)).toBe(true)
    waiting.decoder.write(large.subarray(0, 140_000))
    // A body that waits has no permit to lose.
    for (const nowMs of [60_100, 90_000]) expect(waiting.decoder.keepsPermit(nowMs)).toBe(true)
    expect(slow.decoder.keepsPermit(64_000)).toBe(true)
    expect(slow.decoder.keepsPermit(65_001)).toBe(false)
  })

  it('gives back its permit or its turn, however it ends', async () => {
    const semaphore = createDecoderSemaphore({ max: 1, maxOpen: 1 })
    const empty = collecting(['br'], semaphore)
    empty.decoder.end()
    expect(await empty.done).toBe('BAD_ENCODING')
    const bad = collecting(['br'], semaphore)
    bad.decoder.write(Buffer.alloc(1_000, 0xff))
    bad.decoder.end()
    expect(await bad.done).toBe('BAD_ENCODING')
    const [holding, waiting] = [collecting(['br'], semaphore), collecting(['br'], semaphore)]
    for (const { decoder } of [holding, waiting]) decoder.write(large.subarray(0, 140_000))
    waiting.decoder.destroy()
    holding.decoder.destroy()
    holding.decoder.destroy()
    const [next, after] = [collecting(['br'], semaphore), collecting(['br'], semaphore)]
    for (const { decoder } of [after, next]) {
      decoder.write(large)
      decoder.end()
    }
    expect([await next.done, await after.done]).toEqual(['ok', 'ok'])
    expect(waiting.body()).toHaveLength(0)
  })

  it('decodes one byte to at most 1,100 in each coding, unless the result is small', async () => {
    const level: Record<Coding, (plain: Buffer) => Buffer> = {
      ...encode,
      br: (plain) => zlib.brotliCompressSync(plain),
    }
    const zeros = Buffer.alloc(20_000_000)
    for (const coding of codings) {
      const packed = level[coding](zeros)
      const { decoder, done, body: decoded } = collecting([coding])
      decoder.write(packed)
      decoder.end()
      // Even the highest ratio of deflate is allowed.
      const isBomb = packed.length * 1_100 < zeros.length
      expect([coding, isBomb]).toEqual([coding, coding === 'br' || coding === 'zstd'])
      expect(await done).toBe(isBomb ? 'BAD_ENCODING' : 'ok')
      expect(decoded().length).toBeLessThanOrEqual(isBomb ? 16 * 2 ** 20 : zeros.length)
    }
    // It decodes to nothing in the end: brotli around a million empty gzip members.
    const nothing = encoded(Buffer.concat(new Array(1_000_000).fill(encoded(Buffer.alloc(0), 'gzip'))), 'br')
    const { decoder, done } = collecting(['br', 'gzip'])
    decoder.write(nothing)
    decoder.end()
    expect(await done).toBe('BAD_ENCODING')
  })

  it('accepts a small result, from however few bytes it was decoded', async () => {
    const zeros = Buffer.alloc(16_000_000)
    const { decoder, done, body: decoded } = collecting(['br'])
    decoder.write(zlib.brotliCompressSync(zeros))
    decoder.end()
    expect(await done).toBe('ok')
    expect(decoded().equals(zeros)).toBe(true)
  })
})
