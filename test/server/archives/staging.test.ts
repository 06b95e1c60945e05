// Bodies under way, with a real spool: in memory while they are small and there is budget, else in parts.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  createStagingBudget,
  SMALL_BODY_BYTES,
  StagedBody,
  type StagingBudget,
} from '../../../server/archives/staging.ts'
import type { SpoolWriter } from '../../../server/ports/spool.ts'
import { newArchiveId } from '../../support/archives.ts'
import { type House, openHouse } from '../../support/building.ts'
import { bodyOf } from '../../support/origin.ts'

describe('the staging budget', () => {
  it('gives out what it has, to the byte, and takes it back', () => {
    const budget = createStagingBudget(10)
    expect([budget.tryReserve(7), budget.tryReserve(4), budget.tryReserve(3), budget.tryReserve(1)]).toEqual([
      true,
      false,
      true,
      false,
    ])
    expect(budget.tryReserve(0)).toBe(true)
    budget.release(7)
    expect(budget.usedBytes).toBe(3)
    expect(budget.tryReserve(7)).toBe(true)
  })
})

describe('a staged body', () => {
  let house: House
  let spool: SpoolWriter
  let budget: StagingBudget
  let failures: unknown[]
  const archiveId = newArchiveId()

  beforeEach(async () => {
    house = await openHouse()
    spool = await house.spool.writer(archiveId, { logBytes: 0, parts: new Set() })
    budget = createStagingBudget(8 * 1024 * 1024)
    failures = []
  })

  afterEach(async () => {
    await spool[Symbol.asyncDispose]()
    await house[Symbol.asyncDispose]()
  })

  function stage(announcedBytes: number | null): StagedBody {
    return new StagedBody(announcedBytes, { spool, budget, failed: (error) => failures.push(error) })
  }

  /** In chunks of 64 KiB, and no more than asked for. */
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
  ])('%s: is kept whole in the right place, with size and sum', async (_, announced, size, isInPart) => {
    const content = bodyOf(size, 'content')
    const body = stage(announced)
    await fill(body, content)
    await body.whole()
    expect([body.isInPart, body.part !== null]).toEqual([isInPart, isInPart])
    expect([body.sizeBytes, body.crc32]).toEqual([size, crc32(content)])
    expect((await contentOf(body)).equals(content)).toBe(true)
    expect(budget.usedBytes).toBe(isInPart ? 0 : Math.max(size, announced ?? 0))
    body.releaseMemory()
    body.releaseMemory()
    expect(budget.usedBytes).toBe(0)
    expect(failures).toEqual([])
  })

  it('goes to a part when the budget is spent, before or while it comes', async () => {
    budget.tryReserve(8 * 1024 * 1024 - 100_000)
    const bodies = [stage(100_001), stage(null), stage(null)]
    for (const [n, body] of bodies.entries()) await fill(body, bodyOf(100_000 - n, n))
    for (const body of bodies) await body.whole()
    expect(bodies.map(({ isInPart }) => isInPart)).toEqual([true, false, true])
    for (const [n, body] of bodies.entries()) expect((await contentOf(body)).equals(bodyOf(100_000 - n, n))).toBe(true)
  })

  it('asks for a pause while the disk is behind, and says when it is over', async () => {
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

  it('leaves neither memory nor file when it is discarded, in the middle of writing or whole', async () => {
    const [small, large, whole] = [stage(1_000), stage(null), stage(null)]
    small.write(bodyOf(500, 'small'))
    await fill(whole, bodyOf(SMALL_BODY_BYTES + 1, 'whole'))
    await whole.whole()
    large.write(bodyOf(SMALL_BODY_BYTES + 1, 'large'))
    await Promise.all([small.discard(), large.discard(), whole.discard(), stage(null).discard()])
    expect(budget.usedBytes).toBe(0)
    expect(await house.files(archiveId)).toEqual(['log'])
  })

  it('is never whole where the spool did not take it, and says so', async () => {
    await rm(join(house.directory, archiveId), { recursive: true })
    const body = stage(SMALL_BODY_BYTES + 1)
    body.write(Buffer.from('lost'))
    await expect(body.whole()).rejects.toThrow()
    expect(failures).toHaveLength(1)
    await body.discard()
  })
})
