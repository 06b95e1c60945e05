// Bytes that were just written are served from memory. They equal those in the log, and are freed when nobody holds them.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createRecentWrite } from '../../../../server/archives/bytes/recent-write.ts'
import { type ArchiveReading, openReading } from '../../../../server/archives/views/reading.ts'
import { bytes, gate } from '../../../support/behaviours.ts'
import { openHouse } from '../../../support/building.ts'
import { bodyOf, startOrigin } from '../../../support/origin.ts'
import { until } from '../../../support/wait.ts'

describe('recent writes', () => {
  it('return the bytes from an offset of the log on, and nothing for other offsets', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 5 }), { maxLength: 5 }),
        fc.nat(10),
        fc.nat(40),
        fc.integer({ min: 1, max: 40 }),
        (buffers, begin, offset, maxBytes) => {
          const log = Buffer.concat([Buffer.alloc(begin, 255), ...buffers])
          const taken = createRecentWrite(begin, buffers, () => {}).take(offset, maxBytes)
          if (offset < begin || offset >= log.length) expect(taken).toBeNull()
          else {
            const wanted = log.subarray(offset, offset + maxBytes)
            expect(Buffer.concat(taken!.buffers)).toEqual(wanted)
            expect(taken!.bytes).toBe(wanted.length)
            expect(taken!.heldBytes).toBe(log.length - begin)
          }
        },
      ),
    )
  })

  it('are freed when all have released them', () => {
    let over = 0
    const recent = createRecentWrite(0, [Buffer.alloc(5)], () => over++)
    const [one, other] = [recent.take(0, 5)!, recent.take(3, 2)!]
    one.release()
    recent.release()
    expect(over).toBe(0)
    other.release()
    expect(over).toBe(1)
    // A second release would free memory that another reader holds.
    expect(() => one.release()).toThrow('twice')
  })

  it('are worthwhile if they are large', () => {
    const isWorthwhile = (sizes: number[]) =>
      createRecentWrite(
        0,
        sizes.map((size) => Buffer.alloc(size)),
        () => {},
      ).isWorthwhile
    expect([[], [100, 50_000], [100, 100_000]].map(isWorthwhile)).toEqual([false, false, true])
  })
})

/** Reads to the end as the download of a slow client does. */
async function follow(reading: ArchiveReading) {
  const chunks: Uint8Array[] = []
  let position = 0
  let recentBytes = 0
  const { signal } = new AbortController()
  while ((await reading.wait(position, signal)) === 'readable') {
    const recent = reading.takeRecent(position)
    if (recent === null) {
      const target = Buffer.alloc(100_000)
      const bytes = await reading.read(position, target)
      chunks.push(target.subarray(0, bytes))
      position += bytes
    } else {
      await new Promise((resolve) => setTimeout(resolve, 20))
      for (const buffer of recent.buffers) chunks.push(Buffer.from(buffer))
      position += recent.bytes
      recentBytes += recent.bytes
      recent.release()
    }
  }
  return { bytes: Buffer.concat(chunks), recentBytes }
}

describe('a reading at the frontier', () => {
  it('gets bodies as they were written, and a later reading gets the same bytes', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const small = Array<number>(150).fill(10_000)
    const sizes = [300_000, 700_000, 100, 1_000_000, ...small, 200_000, 3_000_000, 400_000]
    const { archiveId } = await house.accept(sizes.map((size, n) => `${origin.url}/bytes/${size}/${n}`))
    const build = await house.start(archiveId)
    const open = () => openReading({ record: build.record, build, spool: house.spool, closed: () => {} })!
    await using reading = open()
    await using late = open()
    const { bytes, recentBytes } = await follow(reading)
    await build.ended
    expect(recentBytes).toBeGreaterThanOrEqual(300_000)
    expect(bytes.equals(await house.bytes(archiveId))).toBe(true)
    expect(late.takeRecent(0)).toBeNull()
    for (const [n, { body }] of (await house.zip(archiveId)).entries()) {
      expect(body.equals(bodyOf(sizes[n]!, n))).toBe(true)
    }
    expect(house.staging.usedBytes).toBe(0)
  })

  it('gets nothing across a body that lies elsewhere, even if all are written at once', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const head = gate(bytes(bodyOf(300_000, 'head')))
    const sizes = [200_000, 3_000_000, 400_000, 100_000]
    const { archiveId } = await house.accept([
      origin.serve('/head', head.behaviour),
      ...sizes.map((size, n) => `${origin.url}/bytes/${size}/${n}`),
    ])
    const build = await house.start(archiveId)
    await using reading = openReading({ record: build.record, build, spool: house.spool, closed: () => {} })!
    const following = follow(reading)
    // The large body is in its part, and the others are in memory.
    await until(() => build.entries.at(2).state === 'spooled' && build.entries.at(4).state === 'whole', {
      what: 'the others',
    })
    head.open()
    const { bytes: followed, recentBytes } = await following
    await build.ended
    expect(recentBytes).toBeGreaterThanOrEqual(500_000)
    expect(followed.equals(await house.bytes(archiveId))).toBe(true)
  })

  it('holds only the memory of the bytes that it got', async () => {
    await using origin = await startOrigin()
    await using house = await openHouse()
    const { archiveId } = await house.accept([`${origin.url}/bytes/300000/a`, `${origin.url}/bytes/200000/b`])
    const build = await house.start(archiveId)
    await using reading = openReading({ record: build.record, build, spool: house.spool, closed: () => {} })!
    await reading.wait(0, new AbortController().signal)
    const recent = reading.takeRecent(0)!
    await build.ended
    expect(build.recentWrites.current).toBeNull()
    expect(house.staging.usedBytes).toBeGreaterThanOrEqual(300_000)
    const held = Buffer.concat(recent.buffers)
    expect(held.equals((await house.bytes(archiveId)).subarray(0, held.length))).toBe(true)
    recent.release()
    expect(house.staging.usedBytes).toBe(0)
  })
})
