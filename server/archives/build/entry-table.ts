// The entries of an archive while it is built: the one owner of where each of them stands, and of the totals.
import type { BegunFact, EntryFact, Fact } from '../../ports/journal.ts'
import { type Entry, PENDING, SEALED, type SpooledBody, type WholeFacts } from './entry.ts'
import type { FetchingEntry } from './entry-fetch.ts'

type StateName = Entry['state']
type FailedFact = Extract<Fact, { type: 'entry-failed' }>
export type WholeEntry = Extract<Entry, { state: 'whole' }>

/**
 * pending -> fetching -> whole -> (spooled) -> sealed, or failed. Each method is one transition and throws if the entry
 * stands somewhere else. A body that is received into a part goes from fetching to spooled.
 */
export class EntryTable {
  readonly #entries: Entry[]
  readonly #changed: () => void
  /** Whole bodies in memory, in the order they came. */
  readonly #waiting = new Set<number>()
  /** Failed, or whole in a part: to be journalled although their turn has not come. */
  readonly #news = new Set<number>()
  /** What large bodies have grown to, by index. */
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

  /** Of all bodies that are whole: in memory, in the spool or sealed. */
  get wholeBytes(): number {
    return this.#wholeBytes
  }

  /** Journalled as sealed. */
  get sealedEntries(): number {
    return this.#sealedEntries
  }

  /** Journalled as failed. */
  get failedEntries(): number {
    return this.#failedEntries
  }

  // What becomes of an entry.

  begin(entry: FetchingEntry): void {
    this.#move(entry.index, ['pending', 'begun'], entry)
  }

  /** A body could be gone on with from here after a crash. Ignored once the entry is settled. */
  grow(fact: BegunFact): void {
    const { state } = this.at(fact.index)
    if (state !== 'fetching' && state !== 'begun' && state !== 'pending') return
    this.#growing.set(fact.index, fact)
    this.#changed()
  }

  /** Its body is whole and waits in memory. */
  hold(index: number, whole: Omit<WholeEntry, 'state'>): void {
    this.#move(index, ['fetching'], { state: 'whole', ...whole })
    this.#wholeBytes += whole.body.sizeBytes
    this.#waiting.add(index)
    this.#settled(index)
  }

  /** Its body is whole and lies in a part. */
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

  /** Its body leaves memory for the spool before its turn, in the batch that is being made. */
  spill(index: number, at: SpooledBody): void {
    const { facts } = this.#expect(index, ['whole']) as WholeEntry
    this.#waiting.delete(index)
    this.#entries[index] = { state: 'spooled', at, facts, journalled: true }
  }

  /** It takes its place in the archive, in the batch that is being made. */
  seal(index: number): void {
    this.#waiting.delete(index)
    this.#move(index, ['whole', 'spooled'], SEALED)
  }

  /** It has to be fetched again: what there was of its body is lost or given up. */
  reset(index: number): void {
    const before = this.at(index)
    this.#move(index, ['fetching', 'begun', 'spooled'], PENDING)
    if (before.state === 'spooled') this.#wholeBytes -= before.at.sizeBytes
  }

  // What goes into the journal.

  /** Whole bodies are waiting in memory. */
  get hasWaiting(): boolean {
    return this.#waiting.size > 0
  }

  /** By index, in the order they came. */
  waiting(): Iterable<number> {
    return this.#waiting
  }

  get hasNews(): boolean {
    return this.#news.size > 0
  }

  /** Entries to journal before their turn, as long as there is room for more of them. */
  *takeNews(hasRoom: () => boolean): Generator<number, void> {
    for (const index of this.#news) {
      if (!hasRoom()) return
      this.#news.delete(index)
      yield index
    }
  }

  *takeGrown(hasRoom: () => boolean): Generator<BegunFact, void> {
    for (const [index, fact] of this.#growing) {
      if (!hasRoom()) return
      this.#growing.delete(index)
      yield fact
    }
  }

  /** True the first time: from then on it counts as journalled. */
  journal(entry: Extract<Entry, { journalled: boolean }>): boolean {
    if (entry.journalled) return false
    entry.journalled = true
    return true
  }

  /** A batch with so many entries is in the journal. */
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

  /** Gives the memory of all that waits back, when nothing will be written any more. */
  releaseMemory(): void {
    for (const index of this.#waiting) {
      const entry = this.at(index)
      if (entry.state === 'whole') entry.body.releaseMemory()
    }
    this.#waiting.clear()
  }

  // What an earlier process left.

  /** The journal says so; the later fact about an entry replaces the earlier one. */
  restore(fact: EntryFact): void {
    const before = this.at(fact.index)
    if (before.state === 'spooled') this.#wholeBytes -= before.at.sizeBytes
    this.#entries[fact.index] = restored(fact)
    if (fact.type === 'entry-staged' || fact.type === 'entry-sealed') this.#wholeBytes += fact.sizeBytes
    if (fact.type === 'entry-sealed') this.#sealedEntries++
    if (fact.type === 'entry-failed') this.#failedEntries++
  }

  /** Sealed bytes were lost: all but the failures begins anew. */
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
