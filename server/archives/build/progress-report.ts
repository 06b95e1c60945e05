// How far a build is, as clients are told: the phase, what has come in, how fast, and when there is something new to say.
import type { ActiveEntry, Progress } from '#contracts/events.ts'
import { createWake } from '../../lib/wake.ts'
import type { Layout } from '../bytes/layout.ts'
import type { Snapshot } from './build-deps.ts'
import type { EntryTable } from './entry-table.ts'
import { createRate } from './rate.ts'

/** What is being fetched just now. */
export interface UnderWay {
  readonly receivedBytes: number
  readonly expectedBytes: number
  active(max: number): ActiveEntry[]
}

/** Most entries under way that a report names. */
const MAX_ACTIVE = 32

export class ProgressReport {
  /** Passed when there is something new to tell, some times a second; at the end at once. */
  readonly news = createWake()
  /** Archives before it in the queue. */
  queuePosition: number | null = 0
  readonly #entries: EntryTable
  readonly #layout: Layout
  readonly #rate = createRate()
  #phase: Progress['phase'] = 'queued'
  #underWay: UnderWay | null = null
  /** Something has changed since the last tick. */
  #dirty = true
  #snapshot: Snapshot | null = null

  constructor(entries: EntryTable, layout: Layout) {
    this.#entries = entries
    this.#layout = layout
  }

  setPhase(phase: Progress['phase']): void {
    this.#phase = phase
    this.#dirty = true
    this.news.notify()
  }

  /** From now on these entries are under way. */
  follow(underWay: UnderWay | null): void {
    this.#underWay = underWay
  }

  /** To be told with the next tick. */
  changed(): void {
    this.#dirty = true
  }

  /** Bytes of whole bodies, and of those under way. */
  get receivedBytes(): number {
    return this.#entries.wholeBytes + (this.#underWay?.receivedBytes ?? 0)
  }

  /** To be called some times a second. */
  tick(nowMs: number): void {
    this.#rate.sample(nowMs, this.receivedBytes)
    if (this.#dirty || this.receivedBytes > this.#entries.wholeBytes) this.news.notify()
    this.#dirty = false
  }

  /** The same object until there is news, however many ask. */
  snapshot(seq: number): Snapshot {
    const { version } = this.news
    const known = this.#snapshot
    if (known?.version === version && known.seq === seq) return known
    const progress = this.progress()
    this.#snapshot = { version, seq, progress, text: JSON.stringify(progress) }
    return this.#snapshot
  }

  progress(): Progress {
    const { sealedEntries, failedEntries, length: totalEntries, wholeBytes } = this.#entries
    const expectedBytes = wholeBytes + (this.#underWay?.expectedBytes ?? 0)
    return {
      phase: this.#phase,
      queuePosition: this.#phase === 'queued' ? this.queuePosition : null,
      sealedEntries,
      failedEntries,
      totalEntries,
      receivedBytes: this.receivedBytes,
      expectedBytes: expectedBytes > 0 ? expectedBytes : null,
      readableBytes: this.#layout.readableBytes,
      bytesPerSecond: this.#rate.bytesPerSecond,
      active: this.#underWay?.active(MAX_ACTIVE) ?? [],
    }
  }
}
