// Builds one archive. It is the only writer of the archive's log and journal, and turns settled entries into bytes and facts.
import type { EntryInput } from '#contracts/archive.ts'
import type { AbortCode } from '#contracts/failures.ts'
import { describe } from '../../lib/log.ts'
import { createWake } from '../../lib/wake.ts'
import type { ArchiveRecord, Fact } from '../../ports/journal.ts'
import { makingRoom } from '../../ports/no-space.ts'
import { LOG, type SpoolWriter } from '../../ports/spool.ts'
import { createLayout } from '../bytes/layout.ts'
import { createRecentWrite, createRecentWrites } from '../bytes/recent-write.ts'
import { type Batch, type Batcher, createBatcher, type Spill } from './batch.ts'
import { createBatchDelay } from './batch-delay.ts'
import type { BuildDeps } from './build-deps.ts'
import { type Ending, endingOf } from './ending.ts'
import { EntryTable } from './entry-table.ts'
import { createIntake, type Intake } from './intake.ts'
import { openArchive } from './open-archive.ts'
import { patient } from './patience.ts'
import { ProgressReport } from './progress-report.ts'
import { sealArchive } from './seal-archive.ts'
import { createSealer, type Sealer } from './sealer.ts'

/** How often progress is reported at most, and how often limits and waiting bodies are checked. */
const TICK_MS = 250
/** A write of this size is not delayed, because it is large enough to be worth its price. */
const GATHERED_BYTES = 1024 * 1024

export class Build {
  readonly archiveId: string
  readonly record: ArchiveRecord
  readonly layout = createLayout()
  /** The spool file that the build appends to. */
  log = LOG
  /** The bytes that the frontier has just passed, while they are still in memory. */
  readonly recentWrites = createRecentWrites()
  /** Notified when the frontier moves, and when the build ends. */
  readonly frontier = createWake()
  readonly entries: EntryTable
  readonly report: ProgressReport
  /** Number of the last fact in the journal. */
  lastSeq: number
  /** Changes when sealed bytes are lost. A reader that began under another generation must stop. */
  generation: number
  readonly #over = Promise.withResolvers<void>()
  /** Resolves when the build is over, whatever the outcome. */
  readonly ended = this.#over.promise
  outcome: 'sealed' | 'aborted' | 'stopped' | null = null

  readonly #deps: BuildDeps
  #sealer: Sealer
  #batcher: Batcher | null = null
  #intake: Intake | null = null
  readonly #work = createWake()
  /** A large batch need not wait for more, and neither does the last one. */
  readonly #batchDelay = createBatchDelay(
    () => this.#ending !== null || !this.#intake?.isBusy || this.#intake.unwrittenBytes >= GATHERED_BYTES,
  )
  #spill: Spill = 'none'
  #ending: Ending | null = null
  readonly #endingSoon = new AbortController()
  #startedMs: number | null = null

  constructor(record: ArchiveRecord, deps: BuildDeps) {
    this.record = record
    this.#deps = patient(deps, record.archiveId, this.#endingSoon.signal)
    this.archiveId = record.archiveId
    this.lastSeq = record.lastSeq
    this.generation = record.generation
    this.entries = new EntryTable(record.totalEntries, () => this.#entriesChanged())
    this.report = new ProgressReport(this.entries, this.layout)
    this.#sealer = createSealer(record)
  }

  /** Ends the build and removes its bytes. Resolves when it is over: true if this call ended it. */
  async abort(code: AbortCode): Promise<boolean> {
    const first = this.#end({ outcome: 'aborted', code })
    await this.ended
    return first && this.outcome === 'aborted'
  }

  /** Stops the build and keeps its bytes, so that a later build can continue. */
  async stop(): Promise<void> {
    this.#end({ outcome: 'stopped' })
    await this.ended
  }

  /** Asks the build to end. False if it is over already, or about to be. */
  #end(ending: Ending): boolean {
    if (this.outcome !== null || this.#ending !== null) return false
    this.#ending = ending
    this.#batchDelay.look()
    this.#endingSoon.abort()
    this.#work.notify()
    // A build that still waits for its turn is run here, because only `run` ends it.
    if (this.#startedMs === null) void this.run([])
    return true
  }

  /** Resolves when the build is over, and never rejects. Only the first call starts anything. */
  async run(manifest: readonly EntryInput[]): Promise<void> {
    const { clock } = this.#deps
    if (this.#startedMs !== null) return this.ended
    this.#startedMs = clock.monotonicMs()
    let ticker: NodeJS.Timeout | undefined
    let writer: SpoolWriter | null = null
    try {
      if (this.#ending === null) {
        this.report.setPhase('fetching')
        writer = await this.#open()
        if (this.#ending === null) {
          this.#start(manifest, writer)
          ticker = setInterval(() => this.#tick(clock.monotonicMs()), TICK_MS)
          await this.#takeIn(writer)
        }
        if (this.#ending === null) await this.#seal(writer)
      }
    } catch (error) {
      this.#fail(error)
    }
    clearInterval(ticker)
    await this.#wind(writer)
    this.#over.resolve()
    this.frontier.notify()
    this.report.news.notify()
  }

  /** Opens the spool and recovers what an earlier build left. */
  async #open(): Promise<SpoolWriter> {
    const { writer, sealer } = await openArchive({
      ...this.#deps,
      record: this.record,
      layout: this.layout,
      entries: this.entries,
      signal: this.#endingSoon.signal,
      lastSeq: () => this.lastSeq,
      recovered: () => this.#endIfAsked(),
      progressed: () => this.frontier.notify(),
      rewind: () => this.#rewind(),
    })
    this.log = writer.log
    this.#sealer = sealer
    return writer
  }

  /** Starts a new generation, because bytes are lost that readers may have seen. The archive gets another ETag. */
  async #rewind(): Promise<void> {
    this.generation++
    this.layout.clear()
    await this.#append([{ type: 'rewound', generation: this.generation }])
    this.frontier.notify()
  }

  #start(manifest: readonly EntryInput[], spool: SpoolWriter): void {
    const { clock, staging } = this.#deps
    const { entries, record } = this
    this.#batcher = createBatcher({ entries, format: record.format, sealer: this.#sealer, staging, clock })
    this.#intake = createIntake({
      ...this.#deps,
      record,
      manifest,
      entries,
      spool,
      reader: () => this.#deps.spool.reader(this.archiveId),
      failed: (error) => this.#fail(error),
    })
    this.report.follow(this.#intake)
  }

  #entriesChanged(): void {
    this.#checkSize(this.entries.wholeBytes)
    this.#work.notify()
    this.#batchDelay.look()
  }

  /** Writes batches until every entry is settled and journalled, or the build is asked to end. */
  async #takeIn(writer: SpoolWriter): Promise<void> {
    const batcher = this.#batcher!
    while (this.#ending === null) {
      const seen = this.#work.version
      const batch = batcher.next(writer, this.#spill)
      this.#spill = 'none'
      if (batch.facts.length > 0) await this.#commit(batch, writer)
      else if (batcher.isDone) return
      else await this.#work.passed(seen, this.#endingSoon.signal)
      await this.#batchDelay.wait()
    }
  }

  async #commit(batch: Batch, writer: SpoolWriter): Promise<void> {
    const write = createRecentWrite(writer.logBytes, batch.log.buffers, () => batch.log.release())
    try {
      if (batch.log.bytes > 0) await writer.appendLog(batch.log.buffers)
      await this.#append(batch.facts)
      if (batch.extents.length > 0) this.recentWrites.offer(write)
    } finally {
      if (batch.bodyBytes > 0) this.#intake?.written(batch.bodyBytes)
      write.release()
    }
    for (const extent of batch.extents) this.layout.add(extent)
    this.entries.committed(batch)
    this.report.changed()
    if (batch.extents.length > 0) this.frontier.notify()
    this.#endIfAsked()
  }

  async #append(facts: readonly Fact[]): Promise<void> {
    await this.#deps.journal.append(this.archiveId, this.lastSeq, facts)
    this.lastSeq += facts.length
  }

  /** Closes the archive, syncs and checks it, and journals that it is sealed. */
  async #seal(writer: SpoolWriter): Promise<void> {
    const { sealedEntries, failedEntries } = this.entries
    if (sealedEntries === 0) return void this.#end({ outcome: 'aborted', code: 'NO_ENTRIES' })
    const { clock, limits, spool, journal, log } = this.#deps
    const { record, layout } = this
    const counts = { sealedEntries, failedEntries }
    this.report.setPhase('packing')
    const fact = await sealArchive({
      ...{ record, journal, spool, writer, sealer: this.#sealer, layout, clock, ...counts },
      retentionMs: limits.retentionMs,
      signal: this.#endingSoon.signal,
      closed: () => this.frontier.notify(),
      // The removal of the parts of failed entries may still be under way.
      settled: async () => this.#intake?.close(false),
    })
    if (this.#ending !== null) return
    await this.#append([fact])
    this.outcome = 'sealed'
    log.info('archive sealed', { archive: this.archiveId, bytes: layout.readableBytes, ...counts })
  }

  /** Releases everything and does what the ending asks for. Each step runs even if another one fails. */
  async #wind(writer: SpoolWriter | null): Promise<void> {
    const ending = this.outcome === null ? this.#ending : null
    const isStopped = ending?.outcome === 'stopped'
    const attempt = async (step: () => unknown) => {
      try {
        await step()
      } catch (error) {
        this.#deps.log.error('build could not be ended cleanly', { archive: this.archiveId, error: describe(error) })
      }
    }
    await attempt(() => this.#intake?.close(isStopped))
    if (isStopped && !ending.gaveWay && writer !== null) await attempt(() => this.#checkpoint(writer))
    this.entries.releaseMemory()
    await attempt(() => writer?.[Symbol.asyncDispose]())
    if (ending?.outcome === 'aborted') await attempt(() => this.#discard(ending.code))
    this.outcome ??= 'stopped'
    this.#intake = null
    this.report.follow(null)
  }

  /** Writes whole bodies to the spool before the build stops, so that the next one need not fetch them. */
  async #checkpoint(writer: SpoolWriter): Promise<void> {
    for (let batch: Batch | undefined; ; await this.#commit(batch, writer)) {
      batch = this.#batcher?.next(writer, 'all')
      if (batch === undefined || batch.facts.length === 0) return
    }
  }

  async #discard(code: AbortCode): Promise<void> {
    const { spool, clock, limits, log } = this.#deps
    const fact = { type: 'aborted', code, expiresAtMs: clock.wallMs() + limits.abortedRetentionMs } as const
    const remove = () => spool.remove(this.archiveId)
    // Without the fact a later build continues from these bytes, so they are removed after it, unless the disk is full.
    await makingRoom(() => this.#append([fact]), remove)
    this.outcome = 'aborted'
    log.info('archive aborted', { archive: this.archiveId, code })
    await remove()
  }

  #fail(error: unknown): void {
    if (this.#ending !== null) return
    const ending = endingOf(error)
    this.#deps.log.error('build failed', { archive: this.archiveId, ...ending, error: describe(error) })
    this.#end(ending)
  }

  #endIfAsked(): void {
    const isAsked = this.record.onEntryFailure === 'abort' && this.entries.failedEntries > 0
    if (isAsked) this.#end({ outcome: 'aborted', code: 'ENTRY_FAILED' })
  }

  #tick(nowMs: number): void {
    this.#checkSize(this.report.receivedBytes)
    const isLate = nowMs - this.#startedMs! > this.#deps.limits.archiveTimeoutMs
    if (isLate) this.#end({ outcome: 'aborted', code: 'ARCHIVE_TIMEOUT' })
    this.#intake?.fill()
    this.report.tick(nowMs)
    if (this.entries.hasWaiting) {
      this.#spill = 'overdue'
      this.#work.notify()
    }
  }

  #checkSize(bytes: number): void {
    if (bytes > this.#deps.limits.maxArchiveBytes) this.#end({ outcome: 'aborted', code: 'ARCHIVE_TOO_LARGE' })
  }
}
