// A large body that an earlier process began: it is continued if that is safe, and otherwise fetched again.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { bytes, sequence, stallAfter } from '../../../support/behaviours.ts'
import { type House, openHouse } from '../../../support/building.ts'
import { bodyOf, type Origin, startOrigin } from '../../../support/origin.ts'
import { until } from '../../../support/wait.ts'

const MiB = 1024 * 1024
const SIZE = 40 * MiB
const SENT = 24 * MiB

/** Builds until the origin has sent part of the body and stalls. The second request is answered by `then`. */
async function half(origin: Origin, house: House, etag: string | undefined, then = bytes(bodyOf(SIZE, 'large'))) {
  const body = bodyOf(SIZE, 'large')
  const headers = etag === undefined ? { etag } : {}
  const url = origin.serve('/large.bin', sequence(stallAfter(SENT, { body, headers }), then))
  const { archiveId } = await house.accept([url])
  const build = await house.start(archiveId)
  await until(() => build.report.progress().receivedBytes >= SENT, { what: 'the first half' })
  return { archiveId, build }
}

const rangesAsked = (origin: Origin) => origin.requests.map(({ headers }) => headers.range)

describe('a large body', () => {
  it('goes on from its last byte when the process was stopped', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({
      limits: { maxEntryBytes: 2 * SIZE, idleTimeoutMs: 20_000, entryTimeoutMs: 60_000 },
    })
    const { archiveId, build } = await half(origin, house, 'strong')
    await build.stop()
    const begun = await house.facts(archiveId, 'entry-begun')
    expect(begun.at(-1)).toMatchObject({ index: 0, receivedBytes: SENT, announcedBytes: SIZE })
    await house.reopen()
    await (await house.start(archiveId)).ended
    expect((await house.zip(archiveId))[0]!.body.equals(bodyOf(SIZE, 'large'))).toBe(true)
    expect(rangesAsked(origin)).toEqual([undefined, `bytes=${SENT}-`])
  })

  it('goes on from its last checkpoint when the process was killed', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({
      limits: { maxEntryBytes: 2 * SIZE, idleTimeoutMs: 20_000, entryTimeoutMs: 60_000 },
    })
    const { archiveId, build } = await half(origin, house, 'strong')
    const begun = await until(async () => (await house.facts(archiveId, 'entry-begun')).at(-1), {
      what: 'a checkpoint',
    })
    // A kill leaves the journal as it is, and a part that may have more bytes than the journal knows.
    const [part] = (await house.files(archiveId)).filter((file) => file !== 'log')
    const path = join(house.directory, archiveId, part!)
    const left = await readFile(path)
    await build.stop()
    await writeFile(path, Buffer.concat([left, Buffer.from('torn')]))
    await house.reopen()
    await (await house.start(archiveId)).ended
    expect(begun.receivedBytes).toBeGreaterThan(0)
    expect((await house.zip(archiveId))[0]!.body.equals(bodyOf(SIZE, 'large'))).toBe(true)
    expect(rangesAsked(origin)[1]).toMatch(/^bytes=\d+-$/)
  })

  it('is fetched again if the part does not contain what the journal says', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({
      limits: { maxEntryBytes: 2 * SIZE, idleTimeoutMs: 20_000, entryTimeoutMs: 60_000 },
    })
    const { archiveId, build } = await half(origin, house, 'strong')
    await build.stop()
    const [part] = (await house.files(archiveId)).filter((file) => file !== 'log')
    const path = join(house.directory, archiveId, part!)
    const damaged = await readFile(path)
    damaged[5 * MiB]! ^= 1
    await writeFile(path, damaged)
    await house.reopen()
    await (await house.start(archiveId)).ended
    expect((await house.zip(archiveId))[0]!.body.equals(bodyOf(SIZE, 'large'))).toBe(true)
    expect(rangesAsked(origin)).toEqual([undefined, undefined])
    expect((await house.files(archiveId)).length).toBe(2)
  })

  it('is fetched again, and never spliced, if the source has changed meanwhile', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({
      limits: { maxEntryBytes: 2 * SIZE, idleTimeoutMs: 20_000, entryTimeoutMs: 60_000 },
    })
    const { archiveId, build } = await half(origin, house, 'strong', bytes(bodyOf(SIZE, 'another')))
    await build.stop()
    await house.reopen()
    await (await house.start(archiveId)).ended
    expect((await house.zip(archiveId))[0]!.body.equals(bodyOf(SIZE, 'another'))).toBe(true)
  })

  it('is dropped with its part if its source has no strong validator', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse({
      limits: { maxEntryBytes: 2 * SIZE, idleTimeoutMs: 20_000, entryTimeoutMs: 60_000 },
    })
    const { archiveId, build } = await half(origin, house, undefined)
    await build.stop()
    expect(await house.facts(archiveId, 'entry-begun')).toEqual([])
    expect(await house.files(archiveId)).toEqual(['log'])
    await house.reopen()
    await (await house.start(archiveId)).ended
    expect((await house.zip(archiveId))[0]!.body.equals(bodyOf(SIZE, 'large'))).toBe(true)
    expect(rangesAsked(origin)).toEqual([undefined, undefined])
  })
})
