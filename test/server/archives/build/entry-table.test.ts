// The entries of an archive: which transitions are allowed, what is counted, and what has to be journalled.
import { describe, expect, it } from 'vitest'
import type { Entry } from '../../../../server/archives/build/entry.ts'
import type { FetchingEntry } from '../../../../server/archives/build/entry-fetch.ts'
import { EntryTable } from '../../../../server/archives/build/entry-table.ts'
import { StagedBody } from '../../../../server/archives/bytes/staged-body.ts'
import { createStagingMemory } from '../../../../server/archives/bytes/staging-memory.ts'
import { failedFact, sealedFact, stagedFact } from '../../../support/archives.ts'

const SIZE = 7
const facts = { proposedName: 'a', modifiedMs: null }
const at = { file: 'part-0', offset: 0, sizeBytes: SIZE, crc32: 0, deflated: null }
const begunFact = (index: number) =>
  ({ type: 'entry-begun', index, file: 'part-0', receivedBytes: 5, crc32: 0, etag: '"a"', announcedBytes: 9 }) as const

type State = Entry['state']

function openTable(count = 1) {
  let changes = 0
  const staging = createStagingMemory(1_000_000)
  const entries = new EntryTable(count, () => changes++)

  function wholeBody(): StagedBody {
    // Such a small body does not use the spool.
    const body = new StagedBody(SIZE, { spool: null as never, staging, spoolFailed: () => {} })
    body.write(Buffer.alloc(SIZE), null)
    return body
  }

  const moves: Record<string, (index?: number) => void> = {
    begin: (index = 0) => entries.begin({ state: 'fetching', index } as FetchingEntry),
    hold: (index = 0) => entries.hold(index, { body: wholeBody(), deflated: null, sinceMs: 0, facts }),
    store: (index = 0) => entries.store(index, at, facts),
    fail: (index = 0) => entries.fail(failedFact(index)),
    spill: (index = 0) => entries.spill(index, at),
    seal: (index = 0) => entries.seal(index),
    reset: (index = 0) => entries.reset(index),
  }
  const ways: Record<State, readonly string[]> = {
    pending: [],
    begun: [],
    fetching: ['begin'],
    whole: ['begin', 'hold'],
    spooled: ['begin', 'store'],
    failed: ['fail'],
    sealed: ['begin', 'hold', 'seal'],
  }
  function bring(state: State): void {
    if (state === 'begun') entries.restore({ ...begunFact(0) })
    for (const move of ways[state]) moves[move]!()
    expect(entries.at(0).state).toBe(state)
  }
  return { entries, staging, moves, bring, changes: () => changes }
}

const allowed: Record<State, Record<string, State>> = {
  pending: { begin: 'fetching', fail: 'failed' },
  begun: { begin: 'fetching', fail: 'failed', reset: 'pending' },
  fetching: { hold: 'whole', store: 'spooled', fail: 'failed', reset: 'pending' },
  whole: { spill: 'spooled', seal: 'sealed' },
  spooled: { seal: 'sealed', reset: 'pending' },
  failed: {},
  sealed: {},
}
const states = Object.keys(allowed) as State[]
const all = states.flatMap((state) =>
  ['begin', 'hold', 'store', 'fail', 'spill', 'seal', 'reset'].map(
    (move) => [state, move, allowed[state][move]] as const,
  ),
)

describe('an entry', () => {
  it.each(all)('in state %s: %s leads to %s', (state, move, next) => {
    const { entries, staging, moves, bring } = openTable()
    using _ = staging
    bring(state)
    if (next === undefined) expect(() => moves[move]!()).toThrow(`entry 0 is ${state}, not `)
    else moves[move]!()
    expect(entries.at(0).state).toBe(next ?? state)
  })

  it('that does not exist is pending, and refuses every transition', () => {
    const { entries, moves } = openTable()
    expect(entries.at(1).state).toBe('pending')
    expect(() => moves.fail!(1)).toThrow('entry 1 is not there')
  })
})

describe('the totals', () => {
  it('count the bytes of each whole body once, wherever it is', () => {
    const { entries, moves } = openTable(4)
    for (const index of [0, 1, 2, 3]) moves.begin!(index)
    moves.hold!(0)
    moves.store!(1)
    moves.hold!(2)
    moves.fail!(3)
    expect(entries.wholeBytes).toBe(3 * SIZE)
    moves.spill!(2)
    moves.seal!(0)
    moves.seal!(2)
    expect(entries.wholeBytes).toBe(3 * SIZE)
    moves.reset!(1)
    expect(entries.wholeBytes).toBe(2 * SIZE)
  })

  it('count entries as sealed or failed only when that is journalled', () => {
    const { entries, moves } = openTable(2)
    moves.begin!(0)
    moves.hold!(0)
    moves.seal!(0)
    moves.fail!(1)
    expect([entries.sealedEntries, entries.failedEntries]).toEqual([0, 0])
    entries.committed({ sealedEntries: 1, failedEntries: 1 })
    expect([entries.sealedEntries, entries.failedEntries]).toEqual([1, 1])
  })

  it('come from the journal after a restart, and from its failures alone after a rewind', () => {
    const { entries } = openTable(5)
    const journal = [
      begunFact(0),
      stagedFact(1, { sizeBytes: 10 }),
      stagedFact(1, { sizeBytes: 20 }),
      stagedFact(2, { sizeBytes: 30 }),
      sealedFact(2, { sizeBytes: 30 }),
      sealedFact(3, { sizeBytes: 40 }),
      failedFact(4),
    ]
    for (const fact of journal) entries.restore(fact)
    const totals = () => [entries.wholeBytes, entries.sealedEntries, entries.failedEntries]
    expect(totals()).toEqual([90, 2, 1])
    entries.rewind()
    expect(totals()).toEqual([0, 0, 1])
    expect([0, 1, 2, 3, 4].map((index) => entries.at(index).state)).toEqual([
      ...['pending', 'pending', 'pending', 'pending'],
      'failed',
    ])
  })
})

describe('what there is to journal', () => {
  it('is taken once, as far as there is room for it', () => {
    const { entries, moves } = openTable(4)
    for (const index of [2, 0, 1]) moves.fail!(index)
    entries.grow(begunFact(3))
    const few = (count: number) => () => count-- > 0
    expect([...entries.takeNews(few(2))]).toEqual([2, 0])
    expect(entries.hasNews).toBe(true)
    expect([...entries.takeNews(few(2))]).toEqual([1])
    expect([...entries.takeNews(few(2)), ...entries.takeGrown(few(0))]).toEqual([])
    expect([...entries.takeGrown(few(9)), ...entries.takeGrown(few(9))]).toEqual([begunFact(3)])
  })

  it('is announced at once', () => {
    const { entries, moves, changes } = openTable(3)
    for (const index of [0, 1]) moves.begin!(index)
    expect(changes()).toBe(0)
    moves.hold!(0)
    moves.store!(1)
    moves.fail!(2)
    expect(changes()).toBe(3)
    // A settled entry does not begin again.
    for (const index of [0, 1, 2]) entries.grow(begunFact(index))
    expect(changes()).toBe(3)
  })

  it('holds memory, which is given back if nothing will be written', () => {
    const { entries, staging, moves } = openTable(2)
    using _ = staging
    for (const index of [0, 1]) {
      moves.begin!(index)
      moves.hold!(index)
    }
    expect(staging.usedBytes).toBeGreaterThan(0)
    entries.releaseMemory()
    expect([staging.usedBytes, entries.hasWaiting]).toEqual([0, false])
  })
})
