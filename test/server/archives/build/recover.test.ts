// What is read from the journal after a restart, and which bytes of the spool are trusted.
import { crc32 } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EntryTable } from '../../../../server/archives/build/entry-table.ts'
import {
  bytesMatch,
  recoverEntries,
  UnknownFactError,
  verifySealed,
} from '../../../../server/archives/build/recover.ts'
import { createSealer } from '../../../../server/archives/build/sealer.ts'
import { createLayout } from '../../../../server/archives/bytes/layout.ts'
import type { Fact } from '../../../../server/ports/journal.ts'
import { failedFact, sealedFact, stagedFact } from '../../../support/archives.ts'
import { type House, openHouse } from '../../../support/building.ts'

let house: House

beforeEach(async () => {
  house = await openHouse()
})

afterEach(async () => {
  await house[Symbol.asyncDispose]()
})

async function recover(totalEntries: number, ...facts: Fact[]) {
  const { archiveId } = await house.accept(Array.from({ length: totalEntries }, () => 'http://a.test/'))
  if (facts.length > 0) await house.journal.append(archiveId, 1, facts)
  const entries = new EntryTable(totalEntries, () => {})
  const recovered = await recoverEntries(house.journal, archiveId, entries)
  const states = Array.from({ length: totalEntries }, (_, index) => entries.at(index).state)
  return { ...recovered, entries, states, failedEntries: entries.failedEntries }
}

describe('recoverEntries', () => {
  it('finds everything pending if nothing was journalled', async () => {
    const { states, sealed, failedEntries, keep } = await recover(2)
    expect([states, sealed, failedEntries]).toEqual([['pending', 'pending'], [], 0])
    expect(keep).toEqual(new Map())
  })

  it('finds what is sealed, staged and failed, and keeps only the bytes that these need', async () => {
    const recovered = await recover(
      5,
      stagedFact(3, { file: 'part-1', sizeBytes: 50 }),
      failedFact(1),
      stagedFact(2, { file: 'log', offset: 0, sizeBytes: 10 }),
      sealedFact(0, { file: 'part-0', sizeBytes: 70, headerEnd: 45 }),
    )
    expect(recovered.states).toEqual(['sealed', 'failed', 'spooled', 'spooled', 'pending'])
    expect(recovered.failedEntries).toBe(1)
    expect(recovered.sealed.map(({ index, seq }) => [index, seq])).toEqual([[0, 5]])
    const ends = { 'part-1': 50, log: 45, 'part-0': 70 }
    expect(Object.fromEntries(recovered.keep)).toEqual(ends)
    expect(recovered.entries.at(1)).toMatchObject({ journalled: true, fact: { code: 'HTTP_STATUS', httpStatus: 404 } })
    expect(recovered.entries.at(3)).toMatchObject({ journalled: true, at: { file: 'part-1', sizeBytes: 50 } })
  })

  it('keeps the log up to the end of the last body if that is behind the last header', async () => {
    const { keep } = await recover(1, sealedFact(0, { headerEnd: 31, offset: 31, sizeBytes: 100 }))
    expect(keep).toEqual(new Map([['log', 131]]))
    const tar = await recover(1, sealedFact(0, { headerEnd: null, offset: 0, sizeBytes: 100 }))
    expect(tar.keep).toEqual(new Map([['log', 100]]))
  })

  it('uses the last fact about an entry: staged and then sealed, or staged again elsewhere', async () => {
    const recovered = await recover(
      2,
      stagedFact(0, { file: 'part-0' }),
      stagedFact(1, { file: 'part-1' }),
      stagedFact(1, { file: 'part-2' }),
      sealedFact(0, { file: 'part-0' }),
    )
    expect(recovered.states).toEqual(['sealed', 'spooled'])
    expect(recovered.entries.at(1)).toMatchObject({ at: { file: 'part-2' } })
  })

  it('keeps only failures after a rewind, and nothing on disk', async () => {
    const recovered = await recover(
      4,
      sealedFact(0, { offset: 31, sizeBytes: 9 }),
      failedFact(1),
      stagedFact(2, { file: 'part-0' }),
      { type: 'rewound', generation: 2 },
      stagedFact(3, { file: 'part-0' }),
    )
    expect(recovered.states).toEqual(['pending', 'failed', 'pending', 'spooled'])
    expect([recovered.sealed, recovered.failedEntries]).toEqual([[], 1])
    expect(recovered.keep).toEqual(new Map([['part-0', 1]]))
  })

  it('keeps of each log what facts say about it: a log that they name, or the unnamed one', async () => {
    const { keep } = await recover(
      3,
      sealedFact(0, { offset: 31, sizeBytes: 9 }),
      { ...sealedFact(1, { file: 'part-0', sizeBytes: 7, headerEnd: 60 }), headerFile: 'log-5' },
      stagedFact(2, { file: 'log-5', offset: 60, sizeBytes: 40 }),
    )
    expect(Object.fromEntries(keep)).toEqual({ log: 40, 'part-0': 7, 'log-5': 100 })
  })

  it('does not guess the meaning of a fact of an unknown type', async () => {
    await expect(recover(1, { type: 'entry-blessed', index: 0 } as never)).rejects.toThrow(UnknownFactError)
  })

  it('reads a journal of many pages', async () => {
    const recovered = await recover(5_000, ...Array.from({ length: 5_000 }, (_, index) => failedFact(index)))
    expect(recovered.failedEntries).toBe(5_000)
    expect(recovered.states.filter((state) => state !== 'failed')).toEqual([])
  })
})

describe('bytesMatch', () => {
  const content = Buffer.from('before|the body|after')
  const body = { file: 'log', offset: 7, sizeBytes: 8, crc32: crc32('the body'), deflated: null }

  async function match(change: Partial<typeof body>, scratchBytes = 3): Promise<boolean> {
    const { archiveId } = await house.accept(['http://a.test/'])
    await using writer = await house.spool.writer(archiveId, new Map())
    await writer.appendLog([content])
    await using reader = house.spool.reader(archiveId)
    return await bytesMatch(reader, { ...body, ...change }, Buffer.alloc(scratchBytes))
  }

  it('accepts bytes with the right checksum, in however many pieces they are read', async () => {
    for (const scratchBytes of [1, 3, 8, 100]) expect(await match({}, scratchBytes)).toBe(true)
    expect(await match({ sizeBytes: 0, crc32: 0 })).toBe(true)
  })

  it.each([
    ['lies elsewhere', { offset: 6 }],
    ['has another sum', { crc32: crc32('the bodY') }],
    ['is shorter', { sizeBytes: 7 }],
    ['reaches beyond the file', { sizeBytes: 100 }],
    ['lies beyond the file', { offset: 100 }],
    ['lies in a file that is not there', { file: 'part-0' }],
    ['is of no bytes but has a sum', { sizeBytes: 0 }],
  ])('rejects a body that %s', async (_, change) => {
    expect(await match(change)).toBe(false)
  })
})

it('verifySealed gives others their turn even if there is nothing to read', async () => {
  const sealed = Array.from({ length: 20_000 }, (_, index) => ({
    ...sealedFact(index, { headerEnd: null, offset: 0, sizeBytes: 0 }),
    crc32: 0,
    name: `empty-${index}`,
    seq: index + 2,
  }))
  let turns = 0
  let counting = true
  const count = () => {
    turns++
    if (counting) setImmediate(count)
  }
  setImmediate(count)
  const archiveId = 'a'.repeat(22)
  await using reader = house.spool.reader(archiveId)
  const { signal } = new AbortController()
  const sealer = createSealer({ format: 'tar' })
  const options = { sealed, sealer, layout: createLayout(), reader, progressed: () => {}, signal }
  expect(await verifySealed(options)).toBe(true)
  counting = false
  expect(turns).toBeGreaterThan(100)
})
