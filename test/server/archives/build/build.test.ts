// One build with the real journal, spool and fetcher. Its origin answers in any order, late, or badly.
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { EntryInput } from '#contracts/archive.ts'
import { failedFact, stagedFact } from '../../../support/archives.ts'
import { bytes, chunked, delayed, drip, endless, finAfter, gate, status } from '../../../support/behaviours.ts'
import { openHouse } from '../../../support/building.ts'
import { bodyOf, type Origin, startOrigin } from '../../../support/origin.ts'
import { until } from '../../../support/wait.ts'

const SMALL_BODY_BYTES = 2 * 1024 * 1024

/** URLs of `count` small files with different names. */
function smallFiles(origin: Origin, count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, n) => `${origin.url}/bytes/${100 + n + from}/small-${n + from}.bin`)
}

const bodyBehind = (url: string) => {
  const [, size, seed] = /\/bytes\/(\d+)\/([\w-]+)/.exec(url)!
  return bodyOf(Number(size), seed!)
}

/** A body that ends with its connection. */
function unknownLength(body: Buffer) {
  return finAfter(body.length, { body, headers: { 'content-length': undefined, connection: 'close' } })
}

describe('a build', () => {
  it('makes the same bytes from the same responses, in whatever order they arrive', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({ stagingBytes: 200_000 })
    const bodies = Array.from({ length: 40 }, (_, n) => bodyOf(n % 7 === 0 ? 300_000 : n * 997, n))
    const archives: Buffer[] = []
    for (const round of [1, 2, 3]) {
      for (const [n, body] of bodies.entries()) {
        const file = n % 5 === 3 ? status(404) : bytes(body)
        origin.serve(`/${n}.bin`, delayed((n * 37 * round) % 61, file))
      }
      const { archiveId, outcome } = await house.make(bodies.map((_, n) => `${origin.url}/${n}.bin`))
      expect(outcome).toBe('sealed')
      archives.push(await house.bytes(archiveId))
      if (round > 1) continue
      const members = await house.zip(archiveId)
      const whole = bodies.map((body, n) => ({ n, body })).filter(({ n }) => n % 5 !== 3)
      expect(members.map(({ name }) => name)).toEqual(whole.map(({ n }) => `${n}.bin`))
      for (const [at, { body }] of whole.entries()) expect(members[at]!.body.equals(body)).toBe(true)
    }
    expect(archives[1]!.equals(archives[0]!)).toBe(true)
    expect(archives[2]!.equals(archives[0]!)).toBe(true)
    expect(house.staging.usedBytes).toBe(0)
  })

  it('is not held up by a slow first entry: the others are fetched, written to disk and journalled', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const head = gate(bytes(bodyOf(5_000, 'head')))
    const urls = [origin.serve('/head.bin', head.behaviour), ...smallFiles(origin, 20)]
    const { archiveId } = await house.accept(urls)
    const build = await house.start(archiveId)
    const staged = () => house.facts(archiveId, 'entry-staged')
    await until(async () => (await staged()).length === 20, { what: 'all successors to be journalled' })
    expect(house.staging.usedBytes).toBe(0)
    expect(build.report.progress()).toMatchObject({ phase: 'fetching', sealedEntries: 0, readableBytes: 0 })
    expect(build.layout.readableBytes).toBe(0)
    head.open()
    await build.ended
    const members = await house.zip(archiveId)
    expect(members.map(({ body }) => body.toString('hex'))).toEqual(
      [bodyOf(5_000, 'head'), ...urls.slice(1).map(bodyBehind)].map((body) => body.toString('hex')),
    )
  })

  it('makes an entry readable only when it and all entries before it are whole', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const slow = gate(bytes(bodyOf(1_000, 'slow')))
    const first = `${origin.url}/bytes/1000/first.bin`
    const urls = [first, origin.serve('/slow.bin', slow.behaviour), `${origin.url}/bytes/1000/third.bin`]
    const { archiveId } = await house.accept(urls)
    const build = await house.start(archiveId)
    await until(() => build.layout.readableBytes > 0, { what: 'the first entry to be readable' })
    await until(async () => (await house.facts(archiveId, 'entry-staged')).length === 1, { what: 'the third one' })
    expect(build.layout.readableBytes).toBe(30 + 'first.bin'.length + 1_000)
    slow.open()
    await build.ended
    expect(build.layout.readableBytes).toBe((await house.bytes(archiveId)).length)
  })

  it('writes large bodies and those of unknown length to parts, and packs them in their place', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const edge = bodyOf(SMALL_BODY_BYTES, 'edge')
    const large = bodyOf(SMALL_BODY_BYTES + 1, 'large')
    const unknown = bodyOf(3_000_000, 'unknown')
    const short = bodyOf(10, 'short')
    const { archiveId, outcome } = await house.make([
      origin.serve('/edge', bytes(edge)),
      origin.serve('/large', bytes(large)),
      origin.serve('/unknown', unknownLength(unknown)),
      origin.serve('/short', chunked(short)),
    ])
    expect(outcome).toBe('sealed')
    const sealed = await house.facts(archiveId, 'entry-sealed')
    expect(sealed.map(({ file }) => file === 'log')).toEqual([true, false, false, true])
    expect(await house.files(archiveId)).toHaveLength(3)
    const members = await house.zip(archiveId)
    expect(members.map(({ body }) => body.length)).toEqual([edge, large, unknown, short].map(({ length }) => length))
    for (const [n, body] of [edge, large, unknown, short].entries()) {
      expect(members[n]!.body.equals(body)).toBe(true)
    }
  })

  it('writes bodies to parts if the staging budget is used up', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({ stagingBytes: 1_000 })
    const { archiveId } = await house.make([`${origin.url}/bytes/1000/a`, `${origin.url}/bytes/1001/b`])
    const [a, b] = await house.facts(archiveId, 'entry-sealed')
    expect([a!.file === 'log', b!.file === 'log']).toEqual([true, false])
    expect((await house.zip(archiveId)).map(({ size }) => size)).toEqual([1_000, 1_001])
    expect(house.staging.usedBytes).toBe(0)
  })

  it.each(['zip', 'tar', 'tar.gz'] as const)('packs files of no bytes into a %s', async (format) => {
    await using origin = await startOrigin()
    await using house = await openHouse({ stagingBytes: 10 })
    const empty = Buffer.alloc(0)
    const urls = [
      origin.serve('/empty', bytes(empty)),
      origin.serve('/full', bytes(bodyOf(100, 'full'))),
      origin.serve('/unknown', unknownLength(empty)),
      origin.serve('/last', bytes(empty)),
    ]
    const { archiveId, outcome } = await house.make(urls, { format })
    expect(outcome).toBe('sealed')
    const members = format === 'zip' ? await house.zip(archiveId) : await house.tar(archiveId)
    expect(members.map(({ name, size }) => [name, size])).toEqual([
      ['empty', 0],
      ['full', 100],
      ['unknown', 0],
      ['last', 0],
    ])
  })

  it.each(['tar', 'tar.gz'] as const)('packs a %s that GNU tar reads, the same each time', async (format) => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const long = `${'folder-with-a-long-name/'.repeat(8)}${'n'.repeat(120)}.bin`
    const entries: EntryInput[] = [
      ...smallFiles(origin, 30),
      { url: `${origin.url}/bytes/3000000/large`, name: 'sub/größe.bin' },
      { url: `${origin.url}/bytes/5/long`, name: long },
      'http://nowhere.invalid:99999/',
    ]
    const archives: Buffer[] = []
    for (const _ of [1, 2]) {
      const { archiveId, outcome } = await house.make(entries, { format })
      expect(outcome).toBe('sealed')
      archives.push(await house.bytes(archiveId))
      const members = await house.tar(archiveId)
      expect(members.map(({ name }) => name)).toEqual([
        ...Array.from({ length: 30 }, (_, n) => `small-${n}.bin`),
        'sub/größe.bin',
        long,
      ])
      const urls = entries.slice(0, -1).map((entry) => (typeof entry === 'string' ? entry : entry.url))
      for (const [n, url] of urls.entries()) expect(members[n]!.body.equals(bodyBehind(url))).toBe(true)
    }
    expect(archives[0]!.equals(archives[1]!)).toBe(true)
    if (format === 'tar.gz') expect(gunzipSync(archives[0]!).length).toBeGreaterThan(3_000_000)
  })

  it('gives a file the date that its origin sends, or always the same date if that is missing or nonsense', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const dates = ['Thu, 02 Jan 2020 03:04:06 GMT', undefined, 'yesterday']
    const urls = dates.map((date, n) => origin.serve(`/${n}`, bytes(bodyOf(10, n), { 'last-modified': date })))
    const { archiveId } = await house.make(urls)
    const sealed = await house.facts(archiveId, 'entry-sealed')
    expect(sealed.map(({ modifiedMs }) => modifiedMs)).toEqual([Date.UTC(2020, 0, 2, 3, 4, 6), null, null])
    const archive = await house.bytes(archiveId)
    // DOS time of each local header, APPNOTE 4.4.6.
    const at = [0, 1, 2].map((n) => n * (30 + 1 + 10) + 10)
    expect(at.map((offset) => archive.readUInt32LE(offset).toString(16))).toEqual(['50221883', '210000', '210000'])
  })

  it('makes names unique in the order of the manifest', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const url = origin.serve('/same.txt', bytes(Buffer.from('same')))
    const { archiveId } = await house.make([url, url, { url, name: '../../SAME.TXT' }])
    const names = (await house.zip(archiveId)).map(({ name }) => name)
    expect(names).toEqual(['same.txt', 'same (2).txt', 'SAME (3).TXT'])
  })

  it('journals a failure at once with its details, however slow the first entry is', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const head = gate(bytes(bodyOf(1, 'head')))
    const urls = [origin.serve('/head', head.behaviour), 'ftp://a.test/', origin.serve('/gone', status(410))]
    const { archiveId } = await house.accept(urls)
    const build = await house.start(archiveId)
    const failures = () => house.journal.failures(archiveId, 0, 10)
    const told = await until(async () => (await failures()).length === 2 && failures(), { what: 'both failures' })
    expect(told.map(({ seq: _, ...fact }) => fact)).toEqual([
      { type: 'entry-failed', index: 1, code: 'BAD_URL', attempts: 0, httpStatus: null },
      { type: 'entry-failed', index: 2, code: 'HTTP_STATUS', attempts: 1, httpStatus: 410 },
    ])
    head.open()
    await build.ended
    expect(build.report.progress()).toMatchObject({ sealedEntries: 1, failedEntries: 2, totalEntries: 3 })
  })

  it('writes no more than a thousand facts in one transaction', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const sizes: number[] = []
    const { journal } = house
    const append = journal.append.bind(journal)
    journal.append = (archiveId, lastSeq, facts) => {
      sizes.push(facts.length)
      return append(archiveId, lastSeq, facts)
    }
    const bad = Array.from({ length: 1_500 }, (_, n) => `no url ${n}`)
    const build = await house.make([...bad, `${origin.url}/bytes/1/a`, ...bad])
    expect(build.outcome).toBe('sealed')
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1_000)
    expect(await house.facts(build.archiveId, 'entry-failed')).toHaveLength(3_000)
    expect(build.report.progress()).toMatchObject({ sealedEntries: 1, failedEntries: 3_000 })
  })

  it('ends as NO_ENTRIES if nothing could be fetched, and leaves nothing on disk', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const build = await house.make(['nonsense', origin.serve('/gone', status(404))])
    expect(build.outcome).toBe('aborted')
    expect((await house.journal.get(build.archiveId))?.terminal).toMatchObject({ type: 'aborted', code: 'NO_ENTRIES' })
    expect(await house.facts(build.archiveId, 'entry-failed')).toHaveLength(2)
    expect(await house.spool.list()).toEqual([])
  })

  it('ends as ENTRY_FAILED at the first failure if that was asked for, and stops the other fetches', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const hanging = gate()
    const urls = [origin.serve('/bytes/9/hanging', hanging.behaviour), origin.serve('/gone', status(404))]
    const build = await house.make(urls, { onEntryFailure: 'abort' })
    expect((await house.journal.get(build.archiveId))?.terminal).toMatchObject({ code: 'ENTRY_FAILED' })
    expect(await house.facts(build.archiveId, 'entry-failed')).toHaveLength(1)
    await until(() => origin.activeRequests === 0, { what: 'the other fetch to end' })
    expect(await house.spool.list()).toEqual([])
  })

  it('ends as ENTRY_FAILED even if the failure was journalled just before a crash', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const urls = [`${origin.url}/bytes/9/sound`, `${origin.url}/bytes/9/failed`]
    const { archiveId } = await house.accept(urls, { onEntryFailure: 'abort' })
    await house.journal.append(archiveId, 1, [failedFact(1)])
    const build = await house.start(archiveId)
    await build.ended
    expect((await house.journal.get(archiveId))?.terminal).toMatchObject({ code: 'ENTRY_FAILED' })
    expect(await house.spool.list()).toEqual([])
  })

  it('ends as ARCHIVE_TOO_LARGE one byte above the limit but not at it, however fast the bodies come', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({ build: { maxArchiveBytes: 2_000 } })
    const fits = await house.make([`${origin.url}/bytes/1000/a`, `${origin.url}/bytes/1000/b`])
    expect(fits.outcome).toBe('sealed')
    const build = await house.make([`${origin.url}/bytes/1000/a`, `${origin.url}/bytes/1001/b`])
    expect((await house.journal.get(build.archiveId))?.terminal).toMatchObject({ code: 'ARCHIVE_TOO_LARGE' })
    expect(await house.spool.list()).toEqual([fits.archiveId])
  })

  it('ends as ARCHIVE_TOO_LARGE while an endless body is still coming', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({ build: { maxArchiveBytes: 1e6 }, limits: { maxEntryBytes: 2 ** 40 } })
    const build = await house.make([origin.serve('/endless', endless())])
    expect((await house.journal.get(build.archiveId))?.terminal).toMatchObject({ code: 'ARCHIVE_TOO_LARGE' })
    await until(() => origin.openSockets === 0, { what: 'the connection to be gone' })
    expect(await house.spool.list()).toEqual([])
    expect(house.staging.usedBytes).toBe(0)
  })

  it('ends as ARCHIVE_TIMEOUT if it takes too long in all', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({ build: { archiveTimeoutMs: 300 } })
    const build = await house.make([origin.serve('/bytes/9/hanging', gate().behaviour)])
    expect((await house.journal.get(build.archiveId))?.terminal).toMatchObject({ code: 'ARCHIVE_TIMEOUT' })
  })

  it('leaves nothing behind when it is aborted: no file, no connection, no byte of the staging budget', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const large = bodyOf(4_000_000, 'large')
    const head = gate()
    const urls = [
      origin.serve('/bytes/9/head', head.behaviour),
      ...smallFiles(origin, 20),
      origin.serve('/large', drip(100_000, 50, { body: large })),
    ]
    const { archiveId } = await house.accept(urls)
    const build = await house.start(archiveId)
    await until(() => build.report.progress().receivedBytes > 500_000, { what: 'part of the large body' })
    await Promise.all([build.abort('CANCELLED'), build.abort('ABANDONED')])
    expect(build.outcome).toBe('aborted')
    expect((await house.journal.get(archiveId))?.terminal).toMatchObject({ type: 'aborted', code: 'CANCELLED' })
    expect(await house.spool.list()).toEqual([])
    expect(house.staging.usedBytes).toBe(0)
    await until(() => origin.activeRequests === 0, { what: 'the fetches to end' })
  })

  it('can be aborted and stopped before it has begun', async () => {
    await using house = await openHouse()
    const [one, other] = [await house.accept(['http://127.0.0.1:1/']), await house.accept(['http://127.0.0.1:1/'])]
    const aborted = await house.start(one.archiveId)
    await aborted.abort('CANCELLED')
    expect((await house.journal.get(one.archiveId))?.terminal).toMatchObject({ code: 'CANCELLED' })
    const stopped = await house.start(other.archiveId)
    await stopped.stop()
    expect(stopped.outcome).toBe('stopped')
    expect((await house.journal.get(other.archiveId))?.terminal).toBeNull()
    expect(await house.spool.list()).not.toContain(one.archiveId)
  })
})

describe('a build that was stopped', () => {
  it('goes on to the same bytes, without fetching whole bodies again', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({ stagingBytes: 3_000 })
    const slow = gate(bytes(bodyOf(700, 'slow')))
    const early = smallFiles(origin, 10)
    const late = [...smallFiles(origin, 30, 10), `${origin.url}/bytes/2500000/large.bin`]
    const gone = origin.serve('/gone', status(404))
    const urls = [...early, origin.serve('/slow.bin', slow.behaviour), gone, ...late]
    const { archiveId } = await house.accept(urls)
    const first = await house.start(archiveId)
    const settled = () => first.report.progress().sealedEntries + first.report.progress().failedEntries
    await until(() => settled() === 11 && origin.activeRequests === 1, { what: 'all but the slow one to be fetched' })
    // A body in a part is whole only when the part is closed.
    await until(() => !late.some((_, n) => first.entries.at(12 + n).state === 'fetching'), { what: 'all to be whole' })
    await first.stop()
    expect(first.outcome).toBe('stopped')
    expect(house.staging.usedBytes).toBe(0)

    await house.reopen()
    const second = await house.start(archiveId)
    expect(second.generation).toBe(1)
    await slow.waitFor(1)
    slow.open()
    await second.ended
    expect(second.outcome).toBe('sealed')
    for (const url of [...early, ...late, gone]) expect(origin.count(new URL(url).pathname), url).toBe(1)
    expect(origin.count('/slow.bin')).toBe(2)

    const straight = await house.make(urls)
    expect((await house.bytes(archiveId)).equals(await house.bytes(straight.archiveId))).toBe(true)
    expect(await house.zip(archiveId)).toHaveLength(42)
    const sizes = [...early, ...late].map((url) => bodyBehind(url).length)
    expect(second.report.progress()).toMatchObject({
      sealedEntries: 42,
      failedEntries: 1,
      receivedBytes: sizes.reduce((sum, size) => sum + size, 700),
    })
  })

  it.each(['tar', 'tar.gz'] as const)('goes on to the same bytes if it is a %s', async (format) => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const slow = gate(bytes(bodyOf(700, 'slow')))
    const others = smallFiles(origin, 10)
    const urls = [...others.slice(0, 5), origin.serve('/slow.bin', slow.behaviour), ...others.slice(5)]
    const { archiveId } = await house.accept(urls, { format })
    const first = await house.start(archiveId)
    await until(() => others.every((url) => origin.count(new URL(url).pathname) === 1), { what: 'the others' })
    await until(() => origin.activeRequests === 1 && first.report.progress().sealedEntries === 5, {
      what: 'all to be whole',
    })
    await first.stop()
    await house.reopen()
    slow.open()
    const second = await house.start(archiveId)
    await second.ended
    for (const url of others) expect(origin.count(new URL(url).pathname)).toBe(1)
    const straight = await house.make(urls, { format })
    expect((await house.bytes(archiveId)).equals(await house.bytes(straight.archiveId))).toBe(true)
  })

  it('seals without fetching anything if only the end was missing', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const urls = smallFiles(origin, 5)
    const made = await house.make(urls)
    const facts = await house.facts(made.archiveId, 'entry-sealed')
    // A crash between the last entry and the seal leaves this state. The spool is reused under another id.
    const { archiveId } = await house.accept(urls)
    {
      await using writer = await house.spool.writer(archiveId, new Map())
      await writer.appendLog([await house.bytes(made.archiveId)])
    }
    await house.journal.append(
      archiveId,
      1,
      facts.map(({ seq: _, ...fact }) => fact),
    )
    const build = await house.start(archiveId)
    await build.ended
    expect(build.outcome).toBe('sealed')
    expect(origin.requests).toHaveLength(5)
    expect((await house.bytes(archiveId)).equals(await house.bytes(made.archiveId))).toBe(true)
  })

  describe.each([
    ['a flipped bit in a sealed body', (log: Buffer) => log.with(35, log[35]! ^ 1)],
    ['a flipped bit in a sealed header', (log: Buffer) => log.with(14, log[14]! ^ 1)],
    ['a log cut short', (log: Buffer) => log.subarray(0, 40)],
    ['no log at all', () => null],
  ])('and whose spool has %s', (_, damage) => {
    it('is built again, correctly and under another generation', async () => {
      await using origin = await startOrigin()
      await using house = await openHouse()
      const slow = gate(bytes(bodyOf(700, 'slow')))
      const gone = origin.serve('/gone', status(404))
      const others = smallFiles(origin, 6)
      const urls = [...others.slice(0, 3), gone, origin.serve('/slow.bin', slow.behaviour), ...others.slice(3)]
      const { archiveId } = await house.accept(urls)
      const first = await house.start(archiveId)
      const staged = async () => (await house.facts(archiveId, 'entry-staged')).length
      await until(async () => first.report.progress().sealedEntries === 3 && (await staged()) === 3, {
        what: 'the others',
      })
      await first.stop()

      const path = join(house.directory, archiveId, 'log')
      const damaged = damage(await readFile(path))
      if (damaged === null) await rm(path)
      else await writeFile(path, damaged)
      await house.reopen()
      slow.open()
      const second = await house.start(archiveId)
      await second.ended
      expect(second.outcome).toBe('sealed')
      expect(second.generation).toBe(2)
      expect(await house.journal.get(archiveId)).toMatchObject({ generation: 2 })
      const members = await house.zip(archiveId)
      expect(members.map(({ size }) => size)).toEqual([100, 101, 102, 700, 103, 104, 105])
      // A failed entry stays failed, because clients know it. It is not requested again.
      expect(origin.count('/gone')).toBe(1)
      expect(await house.facts(archiveId, 'entry-failed')).toHaveLength(1)
      expect(second.report.progress()).toMatchObject({ sealedEntries: 7, failedEntries: 1 })
      // If it is stopped and started once more, nothing changes.
      await house.reopen()
      expect(await house.zip(archiveId)).toHaveLength(7)
    })
  })

  it('fetches only the staged entry whose bytes were lost, and keeps its generation', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({ stagingBytes: 0 })
    const slow = gate(bytes(bodyOf(700, 'slow')))
    const others = smallFiles(origin, 4)
    const urls = [origin.serve('/slow.bin', slow.behaviour), ...others]
    const { archiveId } = await house.accept(urls)
    const first = await house.start(archiveId)
    const staged = () => house.facts(archiveId, 'entry-staged')
    await until(async () => (await staged()).length === 4, { what: 'the others to be staged' })
    await first.stop()
    const [lost, torn] = (await staged()).filter(({ index }) => index === 2 || index === 3)
    await rm(join(house.directory, archiveId, lost!.file))
    await writeFile(join(house.directory, archiveId, torn!.file), 'torn')
    await house.reopen()
    slow.open()
    const second = await house.start(archiveId)
    await second.ended
    expect([second.outcome, second.generation]).toEqual(['sealed', 1])
    const counts = others.map((url) => origin.count(new URL(url).pathname))
    expect(counts).toEqual([1, 1, 1, 1].map((count, n) => count + Number([lost, torn].some((f) => f!.index === n + 1))))
    const members = await house.zip(archiveId)
    expect(members.map(({ size }) => size)).toEqual([700, 100, 101, 102, 103])
    // Only the archive's files are left, and nothing of the dropped bodies.
    expect((await house.files(archiveId)).length).toBe(1 + 5)
  })

  it('drops bytes that no fact mentions', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const { archiveId } = await house.accept([`${origin.url}/bytes/10/a`])
    {
      await using writer = await house.spool.writer(archiveId, new Map())
      await writer.appendLog([bodyOf(1_000, 'half a body')])
      const part = await writer.createPart()
      await part.write([bodyOf(1_000, 'half a part')])
      await part.close()
    }
    const build = await house.start(archiveId)
    await build.ended
    expect(await house.files(archiveId)).toEqual(['log'])
    expect(await house.zip(archiveId)).toHaveLength(1)
  })

  it('gives way to a builder that is ahead, and leaves it its files', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const slow = gate(bytes(bodyOf(10, 'slow')))
    const { archiveId } = await house.accept([origin.serve('/slow', slow.behaviour)])
    const stale = await house.start(archiveId)
    await slow.waitFor(1)
    await house.journal.append(archiveId, 1, [stagedFact(0)])
    slow.open()
    await stale.ended
    expect(stale.outcome).toBe('stopped')
    expect((await house.journal.get(archiveId))?.terminal).toBeNull()
    expect(await house.spool.list()).toEqual([archiveId])
  })
})
