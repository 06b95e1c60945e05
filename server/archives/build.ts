// Builds one archive: the only writer of its log and its journal. Entries go in as they settle, facts and bytes come out.
import type { EntryInput } from '#contracts/archive.ts'
import type { Progress } from '#contracts/events.ts'
import type { AbortCode } from '#contracts/failures.ts'
import { readDirectory } from '#contracts/zip.ts'
import type { Fetcher } from '../fetch/fetcher.ts'
import type { Clock } from '../lib/clock.ts'
import { describe, type Log } from '../lib/log.ts'
import { createWake } from '../lib/wake.ts'
import { type ArchiveRecord, type Extent, type Fact, type Journal, StaleSeqError } from '../ports/journal.ts'
import { NoSpaceError } from '../ports/no-space.ts'
import { LOG, type Spool, type SpoolWriter } from '../ports/spool.ts'
import { type Entry, inLog, PENDING, SEALED } from './entry.ts'
import { createIntake, type Intake } from './intake.ts'
import { createLayout, readLayout } from './layout.ts'
import { packMembers } from './pack-members.ts'
import { createRate } from './rate.ts'
import { bytesMatch, recoverEntries, type SealedFact } from './recover.ts'
import { createSealer, type Sealer } from './sealer.ts'
import type { StagedBody, StagingBudget } from './staging.ts'

export interface BuildLimits {
  readonly maxArchiveBytes: number
  readonly archiveTimeoutMs: number
  readonly retentionMs: number
}

export interface BuildParts {
  readonly journal: Journal
  readonly spool: Spool
  readonly fetcher: Fetcher
  readonly staging: StagingBudget
  readonly clock: Clock
  readonly log: Log
  readonly limits: BuildLimits
}

/** How often progress is told at most, and how often waiting bodies and limits are looked at. */
const TICK_MS = 250
/** Whole bodies wait this long in memory for their turn; then they are written, so that a crash does not lose them. */
const SPILL_AFTER_MS = 500
/** One write and one transaction take in at most this much. */
const MAX_BATCH_BYTES = 8 * 1024 * 1024
const MAX_BATCH_FACTS = 1_000

interface Batch {
  readonly facts: Fact[]
  readonly buffers: Uint8Array[]
  bytes: number
  readonly extents: Extent[]
  /** Whose memory is free once this is over, well or badly. */
  readonly bodies: StagedBody[]
  /** Once bytes and facts are durable. */
  readonly after: (() => void)[]
}

type Ending = { readonly outcome: 'aborted'; readonly code: AbortCode } | { readonly outcome: 'stopped' }

export class Build {
  readonly archiveId: string
  readonly layout = createLayout()
  /** Passed when the frontier moves, and at the end. */
  readonly frontier = createWake()
  /** Passed when there is something new to tell, some times a second; at the end at once. */
  readonly news = createWake()
  /** Of the last fact in the journal. */
  lastSeq: number
  /** Readers that began under another one must not go on. */
  generation: number
  /** Settles when the build is over, however that came. */
  readonly ended: Promise<void>
  outcome: 'sealed' | 'aborted' | 'stopped' | null = null
  queuePosition: number | null = 0

  readonly #record: ArchiveRecord
  readonly #parts: BuildParts
  #entries: Entry[]
  #sealer: Sealer
  #intake: Intake | null = null
  #phase: Progress['phase'] = 'queued'
  /** First entry that is not sealed, and not failed and journalled. */
  #head = 0
  #sealedEntries = 0
  #failedEntries = 0
  #wholeBytes = 0
  /** Settled since the last batch: to be journalled even where its turn has not come. */
  readonly #settled: number[] = []
  /** Whole in memory, waiting for its turn. */
  readonly #inMemory = new Set<number>()
  readonly #work = createWake()
  readonly #rate = createRate()
  #spillDue = false
  #ending: Ending | null = null
  readonly #endingSoon = new AbortController()
  #dirty = true
  #resolveEnded = () => {}
  #startedMs: number | null = null
  /** What a restart left is read and checked: from here on the build may write. */
  #ready = false

  constructor(record: ArchiveRecord, parts: BuildParts) {
    this.#record = record
    this.#parts = parts
    this.archiveId = record.archiveId
    this.lastSeq = record.lastSeq
    this.generation = record.generation
    this.#entries = new Array(record.totalEntries).fill(PENDING)
    this.#sealer = createSealer(record.format)
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
  }

  get record(): ArchiveRecord {
    return this.#record
  }

  /** Ends the build without a result. Resolves when it is over and nothing is left of it. */
  async abort(code: AbortCode): Promise<void> {
    this.#end({ outcome: 'aborted', code })
    await this.ended
  }

  /** Stops where it stands; the next start of the process continues. */
  async stop(): Promise<void> {
    this.#end({ outcome: 'stopped' })
    await this.ended
  }

  #end(ending: Ending): void {
    if (this.outcome !== null) return
    this.#ending ??= ending
    this.#endingSoon.abort()
    this.#work.notify()
    // Nothing would ever end a build that still waits for its turn.
    if (this.#startedMs === null) void this.run([])
  }

  /** Resolves when the build is over, never rejects; only the first call counts. */
  async run(manifest: readonly EntryInput[]): Promise<void> {
    const { clock, log } = this.#parts
    if (this.#startedMs !== null) return this.ended
    this.#startedMs = clock.monotonicMs()
    let ticker: NodeJS.Timeout | undefined
    let writer: SpoolWriter | null = null
    try {
      if (this.#ending === null) {
        this.#setPhase('fetching')
        writer = await this.#open()
        this.#ready = this.#ending === null
        this.#intake = this.#startIntake(manifest, writer)
        ticker = setInterval(() => this.#tick(clock.monotonicMs()), TICK_MS)
        await this.#takeIn(writer)
        if (this.#ending === null) await this.#seal(writer)
      }
    } catch (error) {
      this.#fail(error)
    }
    clearInterval(ticker)
    const { outcome } = this
    const ending = outcome === null ? this.#ending : null
    for (const step of [
      () => this.#intake?.close(),
      () => (ending?.outcome === 'stopped' && this.#ready ? this.#checkpoint(writer!) : undefined),
      () => writer?.[Symbol.asyncDispose](),
      () => (ending?.outcome === 'aborted' ? this.#discard(ending.code) : undefined),
    ]) {
      try {
        await step()
      } catch (error) {
        log.error('build could not be ended cleanly', { archive: this.archiveId, error: describe(error) })
      }
    }
    this.outcome ??= 'stopped'
    this.#intake = null
    this.#resolveEnded()
    this.frontier.notify()
    this.news.notify()
  }

  progress(): Progress & { seq: number } {
    const receivedBytes = this.#wholeBytes + (this.#intake?.receivedBytes ?? 0)
    const expectedBytes = this.#wholeBytes + (this.#intake?.expectedBytes ?? 0)
    return {
      seq: this.lastSeq,
      phase: this.#phase,
      queuePosition: this.#phase === 'queued' ? this.queuePosition : null,
      sealedEntries: this.#sealedEntries,
      failedEntries: this.#failedEntries,
      totalEntries: this.#record.totalEntries,
      receivedBytes,
      expectedBytes: expectedBytes > 0 ? expectedBytes : null,
      readableBytes: this.layout.readableBytes,
      bytesPerSecond: this.#rate.bytesPerSecond,
      active: this.#intake?.active(32) ?? [],
    }
  }

  entry(index: number): Entry {
    return this.#entries[index] ?? PENDING
  }

  async #open(): Promise<SpoolWriter> {
    const { journal, spool } = this.#parts
    if (this.lastSeq === 1) return spool.writer(this.archiveId, { logBytes: 0, parts: new Set() })
    const recovered = await recoverEntries(journal, this.archiveId, this.#record.totalEntries)
    this.#entries = recovered.entries
    this.#failedEntries = recovered.failedEntries
    if (recovered.failedEntries > 0) this.#endIfAsked()
    const writer = await spool.writer(this.archiveId, recovered.keep)
    if (await this.#verify(recovered.sealed, writer)) return writer
    // What readers may have seen is lost: everything but the failures begins anew, under another ETag.
    this.#parts.log.warn('sealed bytes were lost; fetching again', { archive: this.archiveId })
    await writer[Symbol.asyncDispose]()
    this.generation++
    this.layout.clear()
    this.#sealer = createSealer(this.#record.format)
    this.#entries = this.#entries.map((entry) => (entry.state === 'failed' ? entry : PENDING))
    this.#sealedEntries = this.#wholeBytes = 0
    await this.#append([{ type: 'rewound', generation: this.generation }])
    this.frontier.notify()
    return spool.writer(this.archiveId, { logBytes: 0, parts: new Set() })
  }

  /** Checks what was sealed before the restart, and opens it to readers as far as it is checked. */
  async #verify(sealed: readonly SealedFact[], writer: SpoolWriter): Promise<boolean> {
    await using reader = this.#parts.spool.reader(this.archiveId)
    const scratch = Buffer.allocUnsafe(256 * 1024)
    for (const fact of sealed) {
      if (this.#ending !== null) return true
      const { header, extents } = this.#sealer.replace(fact)
      if (header !== null) {
        const found = scratch.subarray(0, header.length)
        const bytes = await reader.read(LOG, extents[0]!.offset, found).catch(() => 0)
        if (bytes !== header.length || !found.equals(header)) return false
      }
      if (!(await bytesMatch(reader, fact, scratch))) return false
      if (this.#record.format === 'zip') for (const extent of extents) this.layout.add(extent)
      this.#sealedEntries++
      this.#wholeBytes += fact.sizeBytes
      if (this.#sealedEntries % 100 === 0) this.frontier.notify()
    }
    for (const [index, entry] of this.#entries.entries()) {
      if (entry.state !== 'spooled') continue
      if (await bytesMatch(reader, entry.at, scratch)) {
        this.#wholeBytes += entry.at.sizeBytes
        continue
      }
      if (entry.at.file !== LOG) await writer.discardPart(entry.at.file)
      this.#entries[index] = PENDING
    }
    this.frontier.notify()
    return true
  }

  #startIntake(manifest: readonly EntryInput[], spool: SpoolWriter): Intake {
    const { fetcher, staging, clock, log } = this.#parts
    // Its first entries may settle while it is made.
    return createIntake({
      archiveId: this.archiveId,
      manifest,
      entries: this.#entries,
      fetcher,
      staging,
      spool,
      clock,
      log,
      settled: (index) => {
        const entry = this.#entries[index]!
        if (entry.state === 'whole') {
          this.#inMemory.add(index)
          this.#wholeBytes += entry.body.sizeBytes
        } else if (entry.state === 'spooled') this.#wholeBytes += entry.at.sizeBytes
        this.#checkSize(this.#wholeBytes)
        this.#settled.push(index)
        this.#work.notify()
      },
      failed: (error) => this.#fail(error),
    })
  }

  /** Until every entry is settled and journalled, or an end was asked for. */
  async #takeIn(writer: SpoolWriter): Promise<void> {
    while (this.#ending === null) {
      const seen = this.#work.version
      const batch = this.#gather(writer.logBytes)
      if (batch.facts.length > 0) await this.#commit(batch, writer)
      else if (this.#head === this.#entries.length) return
      else await this.#work.passed(seen, this.#endingSoon.signal)
      // One turn of the loop gathers what arrives together into one write.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Everything that can be journalled now. Changes no state but what `after` will. */
  #gather(logBytes: number): Batch {
    const batch: Batch = { facts: [], buffers: [], bytes: 0, extents: [], bodies: [], after: [] }
    this.#gatherSealable(batch, logBytes)
    this.#gatherSettled(batch)
    if (this.#spillDue) this.#gatherSpills(batch, logBytes)
    return batch
  }

  #gatherSealable(batch: Batch, logBytes: number): void {
    for (; this.#head < this.#entries.length; this.#head++) {
      const index = this.#head
      const entry = this.#entries[index]!
      if (entry.state === 'sealed') continue
      if (entry.state === 'pending' || entry.state === 'fetching') return
      if (isFull(batch)) return this.#work.notify()
      if (entry.state === 'failed') {
        this.#gatherFailure(batch, entry)
        continue
      }
      const from = entry.state === 'whole' ? entry.body : entry.at
      const body = { index, sizeBytes: from.sizeBytes, crc32: from.crc32, ...entry.facts }
      const at = entry.state === 'whole' ? null : { file: entry.at.file, offset: entry.at.offset }
      const placed = this.#sealer.place(body, logBytes + batch.bytes, at)
      if (placed.header !== null) this.#addBytes(batch, [placed.header])
      if (entry.state === 'whole') this.#takeMemory(batch, index, entry)
      if (this.#record.format === 'zip') batch.extents.push(...placed.extents)
      batch.facts.push(placed.fact)
      this.#entries[index] = SEALED
      batch.after.push(() => this.#sealedEntries++)
    }
  }

  /** Failures are told at once, and parts that are whole would survive a crash: neither waits for its turn. */
  #gatherSettled(batch: Batch): void {
    for (const index of this.#settled.splice(0, MAX_BATCH_FACTS - batch.facts.length)) {
      const entry = this.#entries[index]!
      if (entry.state === 'failed') this.#gatherFailure(batch, entry)
      if (entry.state !== 'spooled' || entry.journalled) continue
      entry.journalled = true
      batch.facts.push({ type: 'entry-staged', index, ...entry.at, ...entry.facts })
    }
    if (this.#settled.length > 0) this.#work.notify()
  }

  #gatherFailure(batch: Batch, entry: Extract<Entry, { state: 'failed' }>): void {
    if (entry.journalled) return
    entry.journalled = true
    batch.facts.push(entry.fact)
    batch.after.push(() => {
      this.#failedEntries++
      this.#endIfAsked()
    })
  }

  /** An entry has failed, and that is journalled. */
  #endIfAsked(): void {
    if (this.#record.onEntryFailure === 'abort') this.#end({ outcome: 'aborted', code: 'ENTRY_FAILED' })
  }

  /** Bodies that have waited long for their turn go to the log where it stands, and become an extent later. */
  #gatherSpills(batch: Batch, logBytes: number): void {
    const before = this.#parts.clock.monotonicMs() - SPILL_AFTER_MS
    this.#spillDue = false
    for (const index of this.#inMemory) {
      const entry = this.#entries[index]!
      if (entry.state !== 'whole' || (entry.sinceMs > before && this.#ending === null)) continue
      if (isFull(batch)) {
        this.#spillDue = true
        this.#work.notify()
        return
      }
      const at = inLog(entry.body, logBytes + batch.bytes)
      this.#takeMemory(batch, index, entry)
      this.#entries[index] = { state: 'spooled', at, facts: entry.facts, journalled: true }
      batch.facts.push({ type: 'entry-staged', index, ...at, ...entry.facts })
    }
  }

  #takeMemory(batch: Batch, index: number, { body }: Extract<Entry, { state: 'whole' }>): void {
    this.#inMemory.delete(index)
    this.#addBytes(batch, body.memory)
    batch.bodies.push(body)
  }

  #addBytes(batch: Batch, buffers: readonly Uint8Array[]): void {
    for (const buffer of buffers) {
      if (buffer.length === 0) continue
      batch.buffers.push(buffer)
      batch.bytes += buffer.length
    }
  }

  async #commit(batch: Batch, writer: SpoolWriter): Promise<void> {
    try {
      if (batch.buffers.length > 0) await writer.appendLog(batch.buffers)
      await this.#append(batch.facts)
    } finally {
      for (const body of batch.bodies) {
        this.#intake?.written(body.sizeBytes)
        body.releaseMemory()
      }
    }
    for (const extent of batch.extents) this.layout.add(extent)
    for (const after of batch.after) after()
    this.#dirty = true
    if (batch.extents.length > 0) this.frontier.notify()
  }

  async #append(facts: readonly Fact[]): Promise<void> {
    await this.#parts.journal.append(this.archiveId, this.lastSeq, facts)
    this.lastSeq += facts.length
  }

  /** Closes the archive, makes it outlive the machine, checks it, and says so. */
  async #seal(writer: SpoolWriter): Promise<void> {
    if (this.#sealedEntries === 0) return this.#end({ outcome: 'aborted', code: 'NO_ENTRIES' })
    const { clock, limits, spool, log } = this.#parts
    this.#setPhase('packing')
    if (this.#record.format === 'zip') {
      const trailer = this.#sealer.trailer()
      const offset = writer.logBytes
      await writer.appendLog(trailer)
      this.layout.add({ file: LOG, offset, length: writer.logBytes - offset })
      this.frontier.notify()
    } else {
      const { members } = this.#sealer
      const gzip = this.#record.format === 'tar.gz'
      this.layout.add(await packMembers(spool.reader(this.archiveId), writer, members, gzip, this.#endingSoon.signal))
    }
    await writer.sync()
    if (this.#record.format === 'zip') await this.#checkDirectory()
    if (this.#ending !== null) return
    const sizeBytes = this.layout.readableBytes
    const sealedAtMs = clock.wallMs()
    await this.#append([
      {
        type: 'archive-sealed',
        sizeBytes,
        extents: this.layout.extents,
        sealedEntries: this.#sealedEntries,
        failedEntries: this.#failedEntries,
        durationMs: sealedAtMs - this.#record.acceptedAtMs,
        sealedAtMs,
        expiresAtMs: sealedAtMs + limits.retentionMs,
      },
    ])
    this.outcome = 'sealed'
    const counts = { sealed: this.#sealedEntries, failed: this.#failedEntries }
    log.info('archive sealed', { archive: this.archiveId, bytes: sizeBytes, ...counts })
  }

  async #checkDirectory(): Promise<void> {
    await using reader = this.#parts.spool.reader(this.archiveId)
    const read = async (offset: number, length: number) => {
      const target = Buffer.allocUnsafe(length)
      const bytes = await readLayout(this.layout, (...at) => reader.read(...at), offset, target)
      return target.subarray(0, bytes)
    }
    let entries = 0
    for await (const _ of readDirectory(read, this.layout.readableBytes)) entries++
    if (entries !== this.#sealedEntries) throw new Error(`${this.#sealedEntries} entries sealed, ${entries} in the zip`)
  }

  /** Before the process ends: whole bodies go to the spool, so that the next one need not fetch them. */
  async #checkpoint(writer: SpoolWriter): Promise<void> {
    for (;;) {
      this.#spillDue = true
      const batch = this.#gather(writer.logBytes)
      if (batch.facts.length === 0) return
      await this.#commit(batch, writer)
    }
  }

  async #discard(code: AbortCode): Promise<void> {
    const { spool, clock, limits, log } = this.#parts
    for (const index of this.#inMemory) {
      const entry = this.#entries[index]!
      if (entry.state === 'whole') entry.body.releaseMemory()
    }
    this.#inMemory.clear()
    const fact = { type: 'aborted', code, expiresAtMs: clock.wallMs() + limits.retentionMs } as const
    try {
      await this.#append([fact])
    } catch (error) {
      if (error instanceof StaleSeqError) throw error
      // Where the disk is full, there is room to say so once the bytes are gone.
      await spool.remove(this.archiveId)
      await this.#append([fact])
    }
    this.outcome = 'aborted'
    log.info('archive aborted', { archive: this.archiveId, code })
    await spool.remove(this.archiveId)
  }

  #fail(error: unknown): void {
    if (this.#ending !== null) return
    if (error instanceof StaleSeqError) {
      // Another builder has taken over: journal and spool are its own now.
      this.#ready = false
      this.#parts.log.warn('build gave way', { archive: this.archiveId, error: describe(error) })
      return this.#end({ outcome: 'stopped' })
    }
    const code = error instanceof NoSpaceError ? 'NO_SPACE' : 'INTERNAL'
    this.#parts.log.error('build failed', { archive: this.archiveId, code, error: describe(error) })
    this.#end({ outcome: 'aborted', code })
  }

  #setPhase(phase: Progress['phase']): void {
    this.#phase = phase
    this.#dirty = true
    this.news.notify()
  }

  #tick(nowMs: number): void {
    const { limits } = this.#parts
    const underWayBytes = this.#intake?.receivedBytes ?? 0
    const bytes = this.#wholeBytes + underWayBytes
    this.#checkSize(bytes)
    if (nowMs - this.#startedMs! > limits.archiveTimeoutMs) this.#end({ outcome: 'aborted', code: 'ARCHIVE_TIMEOUT' })
    this.#rate.sample(nowMs, bytes)
    if (this.#inMemory.size > 0) {
      this.#spillDue = true
      this.#work.notify()
    }
    if (this.#dirty || underWayBytes > 0) this.news.notify()
    this.#dirty = false
  }

  #checkSize(bytes: number): void {
    if (bytes > this.#parts.limits.maxArchiveBytes) this.#end({ outcome: 'aborted', code: 'ARCHIVE_TOO_LARGE' })
  }
}

function isFull({ bytes, facts }: Batch): boolean {
  return bytes >= MAX_BATCH_BYTES || facts.length >= MAX_BATCH_FACTS
}
