// What is journalled if things happen in an unusual order.
import { describe, expect, it } from 'vitest'
import { createBatcher } from '../../../../server/archives/build/batch.ts'
import { EntryTable } from '../../../../server/archives/build/entry-table.ts'
import { createSealer } from '../../../../server/archives/build/sealer.ts'
import { createStagingMemory } from '../../../../server/archives/bytes/staging-memory.ts'
import { systemClock } from '../../../../server/lib/clock.ts'
import { sealedFact, stagedFact } from '../../../support/archives.ts'

const begun = (index: number) =>
  ({ type: 'entry-begun', index, file: 'part-0', receivedBytes: 5, crc32: 0, etag: '"a"', announcedBytes: 9 }) as const
const failed = (index: number) =>
  ({ type: 'entry-failed', index, code: 'BODY_TRUNCATED', attempts: 4, httpStatus: null }) as const

describe('a batch', () => {
  it('never says that an entry has begun after it was settled', () => {
    using staging = createStagingMemory(0)
    const entries = new EntryTable(3, () => {})
    entries.restore({ ...sealedFact(2) })
    const sealer = createSealer({ format: 'zip' })
    const batcher = createBatcher({ entries, format: 'zip', sealer, staging, clock: systemClock })
    for (const index of [0, 1, 2]) entries.grow(begun(index))
    entries.fail(failed(1))
    // A write that was under way reports this when it ends.
    for (const index of [0, 1, 2]) entries.grow(begun(index))
    expect(batcher.next({ log: 'log', logBytes: 0 }, 'none').facts).toEqual([failed(1), begun(0)])
    expect(batcher.next({ log: 'log', logBytes: 0 }, 'none').facts).toEqual([])
  })

  it('seals few enough long names at a time that nobody waits for long, and all of them in the end', () => {
    using staging = createStagingMemory(0)
    const entries = new EntryTable(300, () => {})
    for (let index = 0; index < 300; index++) {
      const proposedName = `${index}`.padEnd(4096, '\ufb2c')
      entries.restore({ ...stagedFact(index, { file: `part-${index}`, proposedName }) })
    }
    const sealer = createSealer({ format: 'zip' })
    const batcher = createBatcher({ entries, format: 'zip', sealer, staging, clock: systemClock })
    const counts: number[] = []
    while (!batcher.isDone) counts.push(batcher.next({ log: 'log', logBytes: 0 }, 'none').facts.length)
    expect(Math.max(...counts)).toBeLessThanOrEqual(50)
    expect(counts.reduce((sum, count) => sum + count)).toBe(300)
  })
})
