// Bodies that are still coming, with a real spool: in memory if they are small and there is budget, otherwise in parts.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SMALL_BODY_BYTES, StagedBody } from '../../../../server/archives/bytes/staged-body.ts'
import { createStagingMemory, type StagingMemory } from '../../../../server/archives/bytes/staging-memory.ts'
import type { Lease } from '../../../../server/lib/blocks.ts'
import type { SpoolWriter } from '../../../../server/ports/spool.ts'
import { newArchiveId } from '../../../support/archives.ts'
import * as behave from '../../../support/behaviours.ts'
import { type House, openHouse } from '../../../support/building.ts'
import { bodyOf, startOrigin } from '../../../support/origin.ts'
import { until } from '../../../support/wait.ts'

describe('a staged body', () => {
  let house: House
  let spool: SpoolWriter
  let staging: StagingMemory
  let failures: unknown[]
  const archiveId = newArchiveId()

  beforeEach(async () => {
    house = await openHouse()
    spool = await house.spool.writer(archiveId, new Map())
    staging = createStagingMemory(8 * 1024 * 1024)
    failures = []
  })

  afterEach(async () => {
    await spool[Symbol.asyncDispose]()
    await house[Symbol.asyncDispose]()
  })

  function stage(announcedBytes: number | null): StagedBody {
    return new StagedBody(announcedBytes, { spool, staging, spoolFailed: (error) => failures.push(error) })
  }

  /** A spool whose parts report when a write begins, and wait before they finish it. */
  function slowSpool() {
    const written = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    const held: SpoolWriter = {
      ...spool,
      logBytes: 0,
      createPart: async () => {
        const part = await spool.createPart()
        return {
          ...part,
          file: part.file,
          async write(buffers) {
            begun.resolve()
            await written.promise
            await part.write(buffers)
          },
          close: () => part.close(),
          discard: () => part.discard(),
        }
      },
      [Symbol.asyncDispose]: () => spool[Symbol.asyncDispose](),
    }
    return { held, begun, written }
  }

  /** Writes the content in chunks of 64 KiB, and pauses when the body asks for it. */
  async function fill(body: StagedBody, content: Buffer): Promise<void> {
    for (let at = 0; at < content.length; at += 65_536) {
      if (body.write(content.subarray(at, at + 65_536))) continue
      await new Promise<void>((resolve) => body.whenReady(resolve))
    }
  }

  async function contentOf(body: StagedBody): Promise<Buffer> {
    if (body.part === null) return Buffer.concat(body.memory)
    const target = Buffer.alloc(body.sizeBytes + 1)
    await using reader = house.spool.reader(archiveId)
    let filled = 0
    for (let bytes = -1; bytes !== 0; filled += bytes)
      bytes = await reader.read(body.part.file, filled, target.subarray(filled))
    return target.subarray(0, filled)
  }

  it.each([
    ['announced and small', 1_000, 1_000, false],
    ['announced, at the edge', SMALL_BODY_BYTES, SMALL_BODY_BYTES, false],
    ['announced, past the edge', SMALL_BODY_BYTES + 1, SMALL_BODY_BYTES + 1, true],
    ['unknown and small', null, 1_000, false],
    ['unknown, at the edge', null, SMALL_BODY_BYTES, false],
    ['unknown, past the edge', null, SMALL_BODY_BYTES + 1, true],
    ['announced smaller than it is', 10, 1_000, false],
    ['announced small, and large', 10, SMALL_BODY_BYTES + 1, true],
    ['announced large, and empty', SMALL_BODY_BYTES + 1, 0, true],
    ['empty', 0, 0, false],
    ['empty, of unknown size', null, 0, false],
  ])('%s: is kept whole in the right place, with size and checksum', async (_, announced, size, isInPart) => {
    const content = bodyOf(size, 'content')
    const body = stage(announced)
    await fill(body, content)
    await body.whole()
    expect([body.isInPart, body.part !== null]).toEqual([isInPart, isInPart])
    expect([body.sizeBytes, body.crc32]).toEqual([size, crc32(content)])
    expect((await contentOf(body)).equals(content)).toBe(true)
    expect(staging.usedBytes).toBe(isInPart ? 0 : Math.max(size, announced ?? 0))
    body.releaseMemory()
    body.releaseMemory()
    expect(staging.usedBytes).toBe(0)
    expect(failures).toEqual([])
  })

  it('goes to a part if the budget is used up, before or while it comes', async () => {
    staging.tryReserve(8 * 1024 * 1024 - 100_000)
    const bodies = [stage(100_001), stage(null), stage(null)]
    for (const [n, body] of bodies.entries()) await fill(body, bodyOf(100_000 - n, n))
    for (const body of bodies) await body.whole()
    expect(bodies.map(({ isInPart }) => isInPart)).toEqual([true, false, true])
    for (const [n, body] of bodies.entries()) expect((await contentOf(body)).equals(bodyOf(100_000 - n, n))).toBe(true)
  })

  it('asks for a pause while the disk is behind, and reports when the pause is over', async () => {
    const body = stage(null)
    const chunk = bodyOf(SMALL_BODY_BYTES + 1, 'large')
    expect(body.write(chunk)).toBe(false)
    let resumed = 0
    body.whenReady(() => resumed++)
    expect(resumed).toBe(0)
    await body.whole()
    expect(resumed).toBe(1)
    body.whenReady(() => resumed++)
    expect(resumed).toBe(2)
  })

  it('is whole even if an empty piece came after everything had been written', async () => {
    const body = stage(SMALL_BODY_BYTES + 1)
    await fill(body, bodyOf(100_000, 'all'))
    const written = async () => body.part !== null && (await contentOf(body)).length === 100_000
    await until(written, { what: 'the part to have all' })
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(body.write(Buffer.alloc(0))).toBe(true)
    await body.whole()
    expect((await contentOf(body)).equals(bodyOf(100_000, 'all'))).toBe(true)
  })

  it('leaves neither memory nor file if it is discarded, during a write or when it is whole', async () => {
    const [small, large, whole] = [stage(1_000), stage(null), stage(null)]
    small.write(bodyOf(500, 'small'))
    await fill(whole, bodyOf(SMALL_BODY_BYTES + 1, 'whole'))
    await whole.whole()
    large.write(bodyOf(SMALL_BODY_BYTES + 1, 'large'))
    await Promise.all([small.discard(), large.discard(), whole.discard(), stage(null).discard()])
    expect(staging.usedBytes).toBe(0)
    expect(await house.files(archiveId)).toEqual(['log'])
  })

  it('never becomes whole if the spool failed, and reports that', async () => {
    await rm(join(house.directory, archiveId), { recursive: true })
    const body = stage(SMALL_BODY_BYTES + 1)
    body.write(Buffer.from('lost'))
    await expect(body.whole()).rejects.toThrow()
    expect(failures).toHaveLength(1)
    await body.discard()
  })

  describe('of chunks with leases', () => {
    let live: number
    let taken: number

    beforeEach(() => {
      live = taken = 0
    })

    /** A lease whose bytes are overwritten when it is released, as those of a slab are. */
    function lease(chunk: Buffer): Lease {
      let isHeld = true
      live++
      taken++
      return {
        release() {
          if (!isHeld) throw new Error('released twice')
          isHeld = false
          live--
          chunk.fill(0)
        },
      }
    }

    async function fillLeased(body: StagedBody, content: Buffer, chunkBytes = 65_536): Promise<void> {
      for (let at = 0; at < content.length; at += chunkBytes) {
        const chunk = Buffer.from(content.subarray(at, at + chunkBytes))
        if (body.write(chunk, lease(chunk))) continue
        await new Promise<void>((resolve) => body.whenReady(resolve))
      }
    }

    it.each([
      ['copies a small one and keeps no lease', 20_000, 20_000, 10_000, 0],
      ['keeps the leases of a larger one', 300_000, 300_000, 65_536, 5],
      ['copies the beginning of one of unknown size', null, 300_000, 10_000, 27],
      ['copies small chunks, whatever the size', 300_000, 300_000, 1_000, 0],
    ])('%s', async (_, announced, size, chunkBytes, kept) => {
      const content = bodyOf(size, 'leased')
      const body = stage(announced)
      await fillLeased(body, content, chunkBytes)
      await body.whole()
      expect(live).toBe(kept)
      expect((await contentOf(body)).equals(content)).toBe(true)
      body.releaseMemory()
      body.releaseMemory()
      await body.discard()
      expect(live).toBe(0)
    })

    it('copies chunks of single bytes together', async () => {
      const content = bodyOf(10_000, 'bytes')
      for (const announced of [10_000, null]) {
        const body = stage(announced)
        await fillLeased(body, content, 1)
        expect((await contentOf(body)).equals(content)).toBe(true)
        expect(body.memory.length).toBeLessThan(20)
      }
    })

    it('releases each chunk when it is in the part, even in the middle of the body', async () => {
      const content = bodyOf(3 * SMALL_BODY_BYTES, 'to the part')
      const body = stage(null)
      await fillLeased(body, content)
      expect(taken - live).toBeGreaterThan(40)
      await body.whole()
      expect([live, taken]).toEqual([0, 96])
      expect((await contentOf(body)).equals(content)).toBe(true)
    })

    it('does not copy into a block that is released with bytes already written', async () => {
      const content = bodyOf(SMALL_BODY_BYTES + 200_000, 'in small chunks')
      const body = stage(content.length)
      for (let at = 0; at < content.length; at += 1_000) {
        const chunk = Buffer.from(content.subarray(at, at + 1_000))
        if (!body.write(chunk, lease(chunk))) await new Promise<void>((resolve) => body.whenReady(resolve))
        if (at % 50_000 !== 0) continue
        // Meanwhile a write happens, and other bodies overwrite every block that was given back.
        await new Promise((resolve) => setTimeout(resolve, 2))
        const others = Array.from({ length: 16 }, () => staging.allocate(64 * 1024))
        for (const { memory, lease } of others) {
          memory.fill(0)
          lease?.release()
        }
      }
      await body.whole()
      expect(body.crc32).toBe(crc32(content))
      expect((await contentOf(body)).equals(content)).toBe(true)
      expect(staging.liveBlocks).toBeLessThanOrEqual(1)
    })

    it('releases all chunks when it is discarded or kept, and every later one', async () => {
      const [small, large, kept] = [stage(300_000), stage(null), stage(SMALL_BODY_BYTES + 1)]
      await fillLeased(small, bodyOf(200_000, 'small'))
      const chunk = bodyOf(SMALL_BODY_BYTES + 1, 'large')
      large.write(chunk, lease(chunk))
      for (const body of [large, kept]) await fillLeased(body, bodyOf(500_000, 'more'))
      expect((await kept.keep())?.receivedBytes).toBe(500_000)
      await Promise.all([small.discard(), large.discard()])
      const late = bodyOf(50_000, 'late')
      expect(small.write(late, lease(late))).toBe(true)
      await small.discard()
      expect(live).toBe(0)
    })

    it('keeps a chunk until it has been written, even if the body is discarded meanwhile', async () => {
      const { held, begun, written } = slowSpool()
      const body = new StagedBody(null, { spool: held, staging, spoolFailed: (error) => failures.push(error) })
      const chunk = bodyOf(SMALL_BODY_BYTES + 1, 'written')
      body.write(chunk, lease(chunk))
      await begun.promise
      const more = bodyOf(100_000, 'queued')
      body.write(more, lease(more))
      const discarded = body.discard()
      expect(live).toBe(1)
      written.resolve()
      await discarded
      expect([live, failures]).toEqual([0, []])
    })

    it('reports no growth after it is discarded during a write', async () => {
      const told: number[] = []
      for (const isDiscarded of [false, true]) {
        const { held, begun, written } = slowSpool()
        const body = new StagedBody(null, {
          spool: held,
          staging,
          spoolFailed: (error) => failures.push(error),
          grown: ({ receivedBytes }) => told.push(receivedBytes),
        })
        const chunk = bodyOf(17 * 1024 * 1024, 'large')
        body.write(chunk, lease(chunk))
        await begun.promise
        const over = isDiscarded ? body.discard() : body.whole()
        written.resolve()
        await over
      }
      expect([told, failures]).toEqual([[17 * 1024 * 1024], []])
    })

    it('releases all chunks if the spool fails, and every later one', async () => {
      await rm(join(house.directory, archiveId), { recursive: true })
      const body = stage(SMALL_BODY_BYTES + 1)
      const [first, second] = [bodyOf(100_000, 1), bodyOf(100_000, 2)]
      body.write(first, lease(first))
      await expect(body.whole()).rejects.toThrow()
      body.write(second, lease(second))
      expect(live).toBe(0)
      await body.discard()
      expect(failures).toHaveLength(1)
    })

    it('releases them when its memory is replaced', async () => {
      const body = stage(300_000)
      await fillLeased(body, bodyOf(300_000, 'shrinks'))
      expect(live).toBe(5)
      body.replaceMemory(Buffer.from('shrunk'))
      expect(live).toBe(0)
      body.releaseMemory()
    })
  })
})

describe('builds', () => {
  it('give back every slab, however their entries and they themselves end', async () => {
    await using house = await openHouse({ limits: { idleTimeoutMs: 500 } })
    await using origin = await startOrigin()
    const body = bodyOf(5 * 1024 * 1024, 'large')
    const urls = [
      ...[700, 40_000, 300_000, 1_500_000].map((size) => origin.serve(`/${size}`, behave.bytes(bodyOf(size, size)))),
      origin.serve('/large', behave.bytes(body)),
      origin.serve('/cut', behave.finAfter(3_000_000, { body })),
      origin.serve('/reset', behave.resetAfter(3_000_000, { body })),
      origin.serve('/stalls', behave.stallAfter(1_000_000, { body })),
      origin.serve('/missing', behave.status(404, {}, 'x'.repeat(50_000))),
      origin.serve('/elsewhere', behave.redirect('/large')),
    ]
    const entries = [...urls, ...urls, ...urls].map((url) => ({ url }))
    const sealed = await house.make(entries)
    expect(sealed.outcome).toBe('sealed')
    for (const end of ['abort', 'stop'] as const) {
      const { archiveId } = await house.accept(entries)
      const build = await house.start(archiveId)
      await until(() => build.report.progress().receivedBytes > 8_000_000, { what: 'half of the bytes' })
      if (end === 'abort') await build.abort('CANCELLED')
      else await build.stop()
    }
    await house.cutOff()
    await until(() => house.slabs?.live === 0, { what: 'every slab to be back' })
    expect([house.slabs?.orphans, house.staging.usedBytes]).toEqual([0, 0])
    // One block is still being filled.
    expect(house.staging.liveBlocks).toBeLessThanOrEqual(1)
  })
})
