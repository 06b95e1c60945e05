// Makes the progress that clients see: phase, counts, bytes and speed. Decides when there is something new to report.
import type { ActiveEntry, Progress, WaitingOrigin } from '#contracts/events.ts'
import { createWake } from '../../lib/wake.ts'
import type { Layout } from '../bytes/layout.ts'
import type { Snapshot } from './build-deps.ts'
import type { EntryTable } from './entry-table.ts'
import { createRate } from './rate.ts'

/** The entries that are being fetched now. */
export interface UnderWay {
  readonly receivedBytes: number
  readonly expectedBytes: number
  active(max: number): ActiveEntry[]
  waiting(max: number): WaitingOrigin[]
}

/** A report names at most so many entries under way, so that it stays small. */
const MAX_ACTIVE = 32
const MAX_WAITING = 32
/** A countdown is right to a second. */
const WAITING_NEWS_MS = 1_000

export class ProgressReport {
  /** Notified some times a second if there is news, and at once when the phase changes or the build ends. */
  readonly news = createWake()
  /** How many archives are before this one in the queue. */
  queuePosition: number | null = 0
  readonly #entries: EntryTable
  readonly #layout: Layout
  readonly #rate = createRate()
  #phase: Progress['phase'] = 'queued'
  #underWay: UnderWay | null = null
  /** Whether something has changed since the last tick. */
  #dirty = true
  /** When it was last reported that origins are waited for; 0 if none is. */
  #waitingMs = 0
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

  /** Sets where the entries under way are read from. */
  follow(underWay: UnderWay | null): void {
    this.#underWay = underWay
  }

  /** Notes a change, which the next tick reports. */
  changed(): void {
    this.#dirty = true
  }

  /** Bytes received so far, of whole bodies and of those under way. */
  get receivedBytes(): number {
    return this.#entries.wholeBytes + (this.#underWay?.receivedBytes ?? 0)
  }

  /** The build calls this some times a second. */
  tick(nowMs: number): void {
    this.#rate.sample(nowMs, this.receivedBytes)
    if (this.#isWaitingNews(nowMs)) this.#dirty = true
    if (this.#dirty || this.receivedBytes > this.#entries.wholeBytes) this.news.notify()
    this.#dirty = false
  }

  /** True if an origin is waited for since now, is not waited for any more, or a second has passed. */
  #isWaitingNews(nowMs: number): boolean {
    const isWaiting = (this.#underWay?.waiting(1).length ?? 0) > 0
    if (isWaiting === this.#waitingMs > 0 && (!isWaiting || nowMs - this.#waitingMs < WAITING_NEWS_MS)) return false
    this.#waitingMs = isWaiting ? nowMs : 0
    return true
  }

  /** Returns the same object until there is news, so that many watchers share one snapshot. */
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
      waiting: this.#underWay?.waiting(MAX_WAITING) ?? [],
    }
  }
}
