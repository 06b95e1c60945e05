// What clients leave on the disk: what counts, for how long, and when it is too much.
import { describe, expect, it } from 'vitest'
import {
  ARCHIVE_OVERHEAD_BYTES,
  createHoldings,
  dayOf,
  type HoldingsLimits,
} from '../../../server/archives/holdings.ts'
import { newArchiveId } from '../../support/archives.ts'

const MB = 1_000_000
const NONE: HoldingsLimits = {
  maxHeldBytesPerClient: Number.POSITIVE_INFINITY,
  maxBytesPerClientADay: Number.POSITIVE_INFINITY,
  maxJournalBytes: Number.POSITIVE_INFINITY,
}
const DAY_MS = 86_400_000

function open(limits: Partial<HoldingsLimits>, usage: { client: string; day: number; bytes: number }[] = []) {
  const clock = { ms: 20_000 * DAY_MS + 5 }
  const holdings = createHoldings({ limits: { ...NONE, ...limits }, wallMs: () => clock.ms, usage })
  return { holdings, clock }
}

describe('holdings', () => {
  it('limit a client to its bytes on the disk, journal and spool together, until they are removed', () => {
    const { holdings } = open({ maxHeldBytesPerClient: 10 * MB })
    const [one, other] = [newArchiveId(), newArchiveId()]
    holdings.set(one, 'a', { journalBytes: 4 * MB })
    holdings.set(one, 'a', { spoolBytes: 5 * MB })
    expect(holdings.excessOf('a', 2 * MB)).toBe('held')
    expect(holdings.excessOf('b', 2 * MB)).toBeNull()
    expect(holdings.isOver('a')).toBe(false)
    holdings.set(other, 'a', { spoolBytes: 3 * MB })
    expect(holdings.isOver('a')).toBe(true)
    holdings.set(one, 'a', { spoolBytes: 0 })
    expect(holdings.isOver('a')).toBe(false)
    holdings.remove(one)
    holdings.remove(one)
    expect(holdings.excessOf('a', 2 * MB)).toBeNull()
  })

  it('count all bytes written on a day, even if they are removed, and begin again the next day', () => {
    const { holdings, clock } = open({ maxBytesPerClientADay: 10 * MB })
    for (let round = 0; round < 3; round++) {
      const id = newArchiveId()
      holdings.set(id, 'a', { spoolBytes: 3 * MB })
      holdings.remove(id)
    }
    expect(holdings.excessOf('a', 2 * MB)).toBe('day')
    expect(holdings.excessOf('b', 2 * MB)).toBeNull()
    clock.ms += DAY_MS
    expect(holdings.excessOf('a', 2 * MB)).toBeNull()
  })

  it('go on from the count of an earlier process, and return once what has to be stored', () => {
    const today = dayOf(20_000 * DAY_MS)
    const { holdings } = open({ maxBytesPerClientADay: 10 * MB }, [
      { client: 'a', day: today, bytes: 9 * MB },
      { client: 'b', day: today - 1, bytes: 9 * MB },
    ])
    expect([holdings.excessOf('a', 2 * MB), holdings.excessOf('b', 2 * MB)]).toEqual(['day', null])
    const [old, id] = [newArchiveId(), newArchiveId()]
    holdings.restore(old, 'b', { journalBytes: 5 * MB, spoolBytes: 5 * MB })
    holdings.set(id, 'b', { spoolBytes: MB })
    holdings.set(id, 'b', { spoolBytes: 3 * MB })
    const bytes = 3 * MB + ARCHIVE_OVERHEAD_BYTES
    expect(holdings.takeUsage()).toEqual([{ client: 'b', day: today, bytes }])
    expect(holdings.takeUsage()).toEqual([])
  })

  it('leave a third of the journal to later clients, and count many small archives', () => {
    const { holdings } = open({ maxJournalBytes: 900 * ARCHIVE_OVERHEAD_BYTES })
    const fill = (client: string) => {
      let count = 0
      for (; holdings.excessOf(client, 0) === null; count++) holdings.set(newArchiveId(), client, { journalBytes: 0 })
      return count
    }
    expect([fill('a'), fill('b'), fill('c')]).toEqual([600, 200, 66])
    expect(holdings.journalBytes).toBe(866 * ARCHIVE_OVERHEAD_BYTES)
  })
})
