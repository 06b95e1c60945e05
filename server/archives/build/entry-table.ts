// Owns the state of each entry of an archive while it is built, and the totals. Does no I/O.
import type { BegunFact, EntryFact, Fact } from '../../ports/journal.ts'
import { type Entry, PENDING, SEALED, type SpooledBody, type WholeFacts } from './entry.ts'
import type { FetchingEntry } from './entry-fetch.ts'

type StateName = Entry['state']
type FailedFact = Extract<Fact, { type: 'entry-failed' }>
export type WholeEntry = Extract<Entry, { state: 'whole' }>

/**
 * pending -> fetching -> whole -> (spooled) -> sealed, or failed. Each method is one transition, and throws if the entry is in
 * another state. A body that is received into a part goes from fetching to spooled.
 */
export class EntryTable {
  readonly #entries: Entry[]
  readonly #changed: () => void
  /** Entries with a whole body in memory, in the order they became whole. */
  readonly #waiting = new Set<number>()
  /** Entries to journal before their turn: those that failed, or whose part is whole. */
  readonly #news = new Set<number>()
  /** The latest checkpoints of large bodies, by index. */
  readonly #growing = new Map<number, BegunFact>()
  #wholeBytes = 0
  #sealedEntries = 0
  #failedEntries = 0

  /** @param changed called when there is something new to journal */
  constructor(count: number, changed: () => void) {
    this.#entries = new Array(count).fill(PENDING)
    this.#changed = changed
  }

  get length(): number {
    return this.#entries.length
  }

  at(index: number): Entry {
    return this.#entries[index] ?? PENDING
  }

  /** Total size of all whole bodies: in memory, in the spool or sealed. */
  get wholeBytes(): number {
    return this.#wholeBytes
  }

  /** Number of entries that are journalled as sealed. */
  get sealedEntries(): number {
    return this.#sealedEntries
  }

  /** Number of entries that are journalled as failed. */
  get failedEntries(): number {
    return this.#failedEntries
  }

  // The transitions of an entry.

  begin(entry: FetchingEntry): void {
    this.#move(entry.index, ['pending', 'begun'], entry)
  }

  /** Notes a checkpoint from which the body can be continued after a crash. Ignored if the entry is settled. */
  grow(fact: BegunFact): void {
    const { state } = this.at(fact.index)
    if (state !== 'fetching' && state !== 'begun' && state !== 'pending') return
    this.#growing.set(fact.index, fact)
    this.#changed()
  }

  /** The body is whole and waits in memory. */
  hold(index: number, whole: Omit<WholeEntry, 'state'>): void {
    this.#move(index, ['fetching'], { state: 'whole', ...whole })
    this.#wholeBytes += whole.body.sizeBytes
    this.#waiting.add(index)
    this.#settled(index)
  }

  /** The body is whole and lies in a part. */
  store(index: number, at: SpooledBody, facts: WholeFacts): void {
    this.#move(index, ['fetching'], { state: 'spooled', at, facts, journalled: false })
    this.#wholeBytes += at.sizeBytes
    this.#news.add(index)
    this.#settled(index)
  }

  fail(fact: FailedFact): void {
    this.#move(fact.index, ['pending', 'begun', 'fetching'], { state: 'failed', fact, journalled: false })
    this.#news.add(fact.index)
    this.#settled(fact.index)
  }

  /** The batch that is being made writes the body to the spool before its turn. */
  spill(index: number, at: SpooledBody): void {
    const { facts } = this.#expect(index, ['whole']) as WholeEntry
    this.#waiting.delete(index)
    this.#entries[index] = { state: 'spooled', at, facts, journalled: true }
  }

  /** The batch that is being made gives the entry its place in the archive. */
  seal(index: number): void {
    this.#waiting.delete(index)
    this.#move(index, ['whole', 'spooled'], SEALED)
  }

  /** The entry has to be fetched again, because its body is lost or was given up. */
  reset(index: number): void {
    const before = this.at(index)
    this.#move(index, ['fetching', 'begun', 'spooled'], PENDING)
    if (before.state === 'spooled') this.#wholeBytes -= before.at.sizeBytes
  }

  // What the journal has to be given.

  /** Whether whole bodies wait in memory. */
  get hasWaiting(): boolean {
    return this.#waiting.size > 0
  }

  /** Indices of entries whose whole body waits in memory, in the order they became whole. */
  waiting(): Iterable<number> {
    return this.#waiting
  }

  get hasNews(): boolean {
    return this.#news.size > 0
  }

  /** Takes entries that are journalled before their turn, as long as there is room for more. */
  *takeNews(hasRoom: () => boolean): Generator<number, void> {
    for (const index of this.#news) {
      if (!hasRoom()) return
      this.#news.delete(index)
      yield index
    }
  }

  /** Takes checkpoints of bodies under way, as long as there is room for more. */
  *takeGrown(hasRoom: () => boolean): Generator<BegunFact, void> {
    for (const [index, fact] of this.#growing) {
      if (!hasRoom()) return
      this.#growing.delete(index)
      yield fact
    }
  }

  /** Marks the entry as journalled. True if it was not marked before. */
  journal(entry: Extract<Entry, { journalled: boolean }>): boolean {
    if (entry.journalled) return false
    entry.journalled = true
    return true
  }

  /** Counts a batch that is in the journal now. */
  committed({
    sealedEntries,
    failedEntries,
  }: {
    readonly sealedEntries: number
    readonly failedEntries: number
  }): void {
    this.#sealedEntries += sealedEntries
    this.#failedEntries += failedEntries
  }

  /** Releases the memory of all waiting bodies, when nothing will be written any more. */
  releaseMemory(): void {
    for (const index of this.#waiting) {
      const entry = this.at(index)
      if (entry.state === 'whole') entry.body.releaseMemory()
    }
    this.#waiting.clear()
  }

  // Recovery of what an earlier process left.

  /** Sets the entry to what the fact says. A later fact about the same entry replaces an earlier one. */
  restore(fact: EntryFact): void {
    const before = this.at(fact.index)
    if (before.state === 'spooled') this.#wholeBytes -= before.at.sizeBytes
    this.#entries[fact.index] = restored(fact)
    if (fact.type === 'entry-staged' || fact.type === 'entry-sealed') this.#wholeBytes += fact.sizeBytes
    if (fact.type === 'entry-sealed') this.#sealedEntries++
    if (fact.type === 'entry-failed') this.#failedEntries++
  }

  /** Makes all entries pending except those that failed, because sealed bytes were lost. */
  rewind(): void {
    for (const [index, { state }] of this.#entries.entries()) if (state !== 'failed') this.#entries[index] = PENDING
    this.#wholeBytes = 0
    this.#sealedEntries = 0
  }

  #settled(index: number): void {
    this.#growing.delete(index)
    this.#changed()
  }

  #move(index: number, from: readonly StateName[], to: Entry): void {
    this.#expect(index, from)
    this.#entries[index] = to
  }

  #expect(index: number, from: readonly StateName[]): Entry {
    const entry = this.#entries[index]
    if (entry === undefined || !from.includes(entry.state)) {
      throw new Error(`entry ${index} is ${entry?.state ?? 'not there'}, not ${from.join(' or ')}`)
    }
    return entry
  }
}

function restored(fact: EntryFact): Entry {
  switch (fact.type) {
    case 'entry-begun':
      return { state: 'begun', fact }
    case 'entry-staged':
      return { state: 'spooled', at: fact, facts: fact, journalled: true }
    case 'entry-sealed':
      return SEALED
    case 'entry-failed':
      return { state: 'failed', fact, journalled: true }
  }
}
