// Deflated entries: which bodies are deflated, how they lie in archive and spool, and what a crash leaves of them.
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32, inflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { bytes, delayed, gate, sequence, status } from '../../../support/behaviours.ts'
import { type House, openHouse } from '../../../support/building.ts'
import { bodyOf, type Origin, startOrigin } from '../../../support/origin.ts'
import { until } from '../../../support/wait.ts'

const MiB = 1024 * 1024
/** Repeated lines, which deflate makes very small. */
const textOf = (size: number, seed: string) => Buffer.alloc(size, `a line of ${seed}, and another one like it\n`)

const METHOD = { store: 0, deflate: 8 }

/** Reads method and sizes of each member from the local headers. */
async function membersOf(house: House, archiveId: string) {
  const archive = await house.bytes(archiveId)
  const found: { name: string; method: number; held: number; size: number; body: Buffer }[] = []
  for (let at = 0; archive.readUInt32LE(at) === 0x04034b50; ) {
    const [method, checksum, held, size] = [8, 14, 18, 22].map((field) =>
      field === 8 ? archive.readUInt16LE(at + field) : archive.readUInt32LE(at + field),
    ) as [number, number, number, number]
    const nameEnd = at + 30 + archive.readUInt16LE(at + 26)
    const name = archive.toString('utf8', at + 30, nameEnd)
    const raw = archive.subarray(nameEnd + archive.readUInt16LE(at + 28)).subarray(0, held)
    const body = method === METHOD.deflate ? inflateRawSync(raw) : raw
    expect(crc32(body), name).toBe(checksum)
    found.push({ name, method, held, size, body })
    at = nameEnd + archive.readUInt16LE(at + 28) + held
  }
  return found
}

/** A text, a text with the name of a picture, random bytes, an empty file, and a large file of each kind that goes to a part. */
function serveAll(origin: Origin, delayOf: (n: number) => number = () => 0) {
  const bodies: [string, Buffer, string][] = [
    ['small.txt', textOf(100_000, 'small'), 'text/plain'],
    ['photo.jpg', textOf(50_000, 'photo'), 'application/octet-stream'],
    ['film', textOf(60_000, 'film'), 'video/mp4'],
    ['random.bin', bodyOf(80_000, 'random'), 'application/octet-stream'],
    ['empty.txt', Buffer.alloc(0), 'text/plain'],
    ['large.csv', textOf(5 * MiB, 'large'), 'text/csv'],
    ['large.bin', bodyOf(4 * MiB, 'large'), 'application/octet-stream'],
    ['shrinks-late.bin', Buffer.concat([bodyOf(2 * MiB, 'head'), textOf(4 * MiB, 'tail')]), 'application/octet-stream'],
  ]
  const urls = bodies.map(([path, body, type], n) =>
    origin.serve(`/${path}`, delayed(delayOf(n), bytes(body, { 'content-type': type }))),
  )
  return { bodies, urls }
}

describe('a zip', () => {
  it.each([
    ['store', []],
    ['auto', ['small.txt', 'large.csv']],
    ['deflate', ['small.txt', 'photo.jpg', 'film.mp4', 'large.csv']],
  ] as const)('with compression %s has these entries deflated: %j', async (compression, deflated) => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const { bodies, urls } = serveAll(origin)
    const { archiveId } = await house.make(urls, { compression })
    const members = await membersOf(house, archiveId)
    expect(members.filter(({ method }) => method === METHOD.deflate).map(({ name }) => name)).toEqual(deflated)
    for (const [n, { name, size, held, body }] of members.entries()) {
      expect(body.equals(bodies[n]![1]), name).toBe(true)
      expect(size).toBe(body.length)
      expect(held).toBeLessThanOrEqual(size)
    }
    // unzip, 7z, bsdtar and python read it, too. The spool keeps no deflated body twice.
    expect(await house.zip(archiveId)).toHaveLength(bodies.length)
    const inParts = members.filter(({ size }) => size > 2 * MiB).length
    expect(await house.files(archiveId)).toHaveLength(1 + inParts)
    expect(house.staging.usedBytes).toBe(0)
  })

  it('has the same bytes in whatever order its bodies arrive', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({ stagingBytes: 150_000 })
    const archives: Buffer[] = []
    for (const round of [1, 2]) {
      const { urls } = serveAll(origin, (n) => (n * 53 * round) % 97)
      const { archiveId } = await house.make(urls, { compression: 'deflate' })
      archives.push(await house.bytes(archiveId))
    }
    expect(archives[1]!.equals(archives[0]!)).toBe(true)
  })

  it('goes on after a stop with its deflated bodies, and fetches none of them again', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const head = gate(bytes(textOf(1_000, 'head')))
    const urls = [
      origin.serve('/head.txt', head.behaviour),
      origin.serve('/small.txt', bytes(textOf(90_000, 'small'))),
      origin.serve('/large.txt', bytes(textOf(5 * MiB, 'large'))),
    ]
    const { archiveId } = await house.accept(urls, { compression: 'deflate' })
    const build = await house.start(archiveId)
    await until(async () => (await house.facts(archiveId, 'entry-staged')).length === 2, { what: 'two staged' })
    await build.stop()
    await house.reopen()
    head.open()
    await (await house.start(archiveId)).ended
    const members = await membersOf(house, archiveId)
    expect(members.map(({ method }) => method)).toEqual([METHOD.deflate, METHOD.deflate, METHOD.deflate])
    expect([origin.count('/small.txt'), origin.count('/large.txt')]).toEqual([1, 1])
    expect(await house.zip(archiveId)).toHaveLength(3)
  })

  it('fetches a deflated body again if it was damaged on the disk', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const head = gate(bytes(textOf(1_000, 'head')))
    const large = textOf(5 * MiB, 'large')
    const urls = [origin.serve('/head.txt', head.behaviour), origin.serve('/large.txt', bytes(large))]
    const { archiveId } = await house.accept(urls, { compression: 'deflate' })
    const build = await house.start(archiveId)
    const [staged] = await until(
      async () => {
        const facts = await house.facts(archiveId, 'entry-staged')
        return facts.length > 0 ? facts : null
      },
      { what: 'the large one staged' },
    )
    await build.stop()
    await using file = await open(join(house.directory, archiveId, staged!.file), 'r+')
    await file.write(Buffer.from([0xff]), 0, 1, 100)
    await house.reopen()
    head.open()
    await (await house.start(archiveId)).ended
    expect((await membersOf(house, archiveId))[1]!.body.equals(large)).toBe(true)
    expect(origin.count('/large.txt')).toBe(2)
  })

  it('leaves nothing behind if it is ended while bodies are being deflated', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const urls = Array.from({ length: 12 }, (_, n) => origin.serve(`/${n}.txt`, bytes(textOf(6 * MiB, `${n}`))))
    const { archiveId } = await house.accept(urls, { compression: 'deflate' })
    const build = await house.start(archiveId)
    await until(() => build.report.progress().receivedBytes > 30 * MiB, { what: 'most of the bodies' })
    await build.abort('CANCELLED')
    expect(build.outcome).toBe('aborted')
    expect(await house.files(archiveId)).toEqual([])
    expect(house.staging.usedBytes).toBe(0)
  })
})

describe('the report', () => {
  const secret = 'token=secret'

  async function makeWithReport(format: 'zip' | 'tar') {
    const origin = await startOrigin()
    const house = await openHouse()
    origin.serve('/a.txt', bytes(Buffer.from('of a')))
    origin.serve('/gone.txt', status(404))
    origin.serve('/retried.txt', sequence(status(503), bytes(Buffer.from('at last'))))
    const { archiveId } = await house.make(
      [
        `${origin.url}/a.txt?${secret}#part`,
        `${origin.url}/gone.txt?${secret}`,
        'http://user:pass@a.test/?token=secret',
        { url: `${origin.url}/retried.txt`, name: 'sheaf-report.json' },
      ],
      { format, report: true, name: `archive.${format}` },
    )
    const members = format === 'zip' ? await house.zip(archiveId) : await house.tar(archiveId)
    return { origin, house, archiveId, members }
  }

  it.each(['zip', 'tar'] as const)('is the last member of a %s, and says what became of each entry', async (format) => {
    const { origin, house, archiveId, members } = await makeWithReport(format)
    await using _ = origin
    await using __ = house
    expect(members.map(({ name }) => name)).toEqual(['a.txt', 'sheaf-report (2).json', 'sheaf-report.json'])
    const text = members.at(-1)!.body.toString()
    expect(JSON.parse(text)).toEqual({
      report: 'sheaf-report.json',
      version: 1,
      archive: `archive.${format}`,
      format,
      totalEntries: 4,
      entries: [
        { index: 0, url: `${origin.url}/a.txt`, name: 'a.txt', sizeBytes: 4, crc32: hex('of a') },
        {
          index: 1,
          url: `${origin.url}/gone.txt`,
          failure: { code: 'HTTP_STATUS', message: 'the origin answered with an error status', httpStatus: 404 },
        },
        {
          index: 2,
          url: null,
          failure: {
            code: 'BAD_URL',
            message: 'not an absolute http or https URL without credentials',
            httpStatus: null,
          },
        },
        {
          index: 3,
          url: `${origin.url}/retried.txt`,
          name: 'sheaf-report (2).json',
          sizeBytes: 7,
          crc32: hex('at last'),
        },
      ],
    })
    expect(text).not.toMatch(/secret|pass/)
    const terminal = (await house.journal.get(archiveId))?.terminal
    expect(terminal).toMatchObject({ sealedEntries: 2, failedEntries: 2 })
  })

  it('exists only if it is asked for', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const { archiveId } = await house.make([{ url: `${origin.url}/bytes/10/a`, name: 'sheaf-report.json' }])
    expect((await house.zip(archiveId)).map(({ body }) => body.length)).toEqual([10])
  })

  const hex = (text: string) => crc32(text).toString(16).padStart(8, '0')
})
