// Decides what of an archive can be journalled now, and in which bytes and facts. No I/O.
import type { ArchiveFormat } from '#contracts/archive.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Fact } from '../../ports/journal.ts'
import type { SpoolWriter } from '../../ports/spool.ts'
import { appendExtent, type GrowingExtent } from '../bytes/layout.ts'
import { LogBytes } from '../bytes/log-bytes.ts'
import type { StagingMemory } from '../bytes/staging-memory.ts'
import { type Entry, inLog } from './entry.ts'
import type { EntryTable, WholeEntry } from './entry-table.ts'
import type { Sealer } from './sealer.ts'

/** One write and one transaction take in at most this much. */
const MAX_BATCH_BYTES = 8 * 1024 * 1024
const MAX_BATCH_FACTS = 1_000
/** UTF-16 units of names: what it costs to clean them is some 40 ns each, and up to 300 for what is made to be dear. */
const MAX_BATCH_NAMES = 128 * 1024
/** Whole bodies wait this long in memory for their turn; then they are written, so that a crash does not lose them. */
const SPILL_AFTER_MS = 500

export interface Batch {
  readonly facts: Fact[]
  /** What the log grows by. To be released once this is over, well or badly. */
  readonly log: LogBytes
  /** What the archive grows by once the batch is durable. */
  readonly extents: GrowingExtent[]
  /** Of the bodies in it, as they were received. */
  bodyBytes: number
  /** Length of the names given in it. */
  nameLength: number
  sealedEntries: number
  failedEntries: number
}

export type LogEnd = Pick<SpoolWriter, 'log' | 'logBytes'>

/** Which of the bodies that wait in memory are written though their turn has not come. */
export type Spill = 'none' | 'overdue' | 'all'

export interface Batcher {
  /** Every entry is sealed or failed, and in a batch. */
  readonly isDone: boolean
  /** The batch will begin at the end of the log. There may be more than one batch takes. */
  next(end: LogEnd, spill: Spill): Batch
}

export interface BatcherOptions {
  entries: EntryTable
  format: ArchiveFormat
  sealer: Sealer
  staging: StagingMemory
  clock: Clock
}

export function createBatcher({ entries, format, sealer, staging, clock }: BatcherOptions): Batcher {
  /** First entry that is not sealed, and not failed and journalled. */
  let head = 0

  function addSealable(batch: Batch, { log, logBytes }: LogEnd): void {
    for (; head < entries.length; head++) {
      const entry = entries.at(head)
      if (entry.state === 'sealed') continue
      if (entry.state === 'failed') {
        if (isFull(batch)) return
        addFailure(batch, entry)
        continue
      }
      if ((entry.state !== 'whole' && entry.state !== 'spooled') || isFull(batch)) return
      const { sizeBytes, crc32 } = entry.state === 'whole' ? entry.body : entry.at
      const { deflated } = entry.state === 'whole' ? entry : entry.at
      const { modifiedMs, proposedName } = entry.facts
      const body = { index: head, sizeBytes, crc32, deflated, modifiedMs, proposedName }
      const at = entry.state === 'whole' ? null : entry.at
      const placed = sealer.place(body, log, logBytes + batch.log.bytes, at, batch.log.allocate)
      if (entry.state === 'whole') takeMemory(batch, entry)
      if (format === 'zip') for (const extent of placed.extents) appendExtent(batch.extents, extent)
      batch.nameLength += proposedName.length
      batch.facts.push(placed.fact)
      batch.sealedEntries++
      entries.seal(head)
    }
  }

  /** Failures are told at once, and parts that are whole would survive a crash: neither waits for its turn. */
  function addNews(batch: Batch): void {
    const hasRoom = () => !isFull(batch)
    for (const index of entries.takeNews(hasRoom)) {
      const entry = entries.at(index)
      if (entry.state === 'failed') addFailure(batch, entry)
      if (entry.state !== 'spooled' || !entries.journal(entry)) continue
      batch.facts.push({ type: 'entry-staged', index, ...entry.at, ...entry.facts })
    }
    for (const fact of entries.takeGrown(hasRoom)) batch.facts.push(fact)
  }

  function addFailure(batch: Batch, entry: Extract<Entry, { state: 'failed' }>): void {
    if (!entries.journal(entry)) return
    batch.facts.push(entry.fact)
    batch.failedEntries++
  }

  /** Bodies that have waited long for their turn go to the log where it stands, and become an extent later. */
  function addSpills(batch: Batch, { log, logBytes }: LogEnd, spill: Spill): void {
    const since = spill === 'all' ? Infinity : clock.monotonicMs() - SPILL_AFTER_MS
    for (const index of entries.waiting()) {
      const entry = entries.at(index)
      if (isFull(batch)) return
      if (entry.state !== 'whole' || entry.sinceMs > since) continue
      const at = inLog(entry, log, logBytes + batch.log.bytes)
      takeMemory(batch, entry)
      entries.spill(index, at)
      batch.facts.push({ type: 'entry-staged', index, ...at, ...entry.facts })
    }
  }

  function takeMemory(batch: Batch, { body }: WholeEntry): void {
    batch.bodyBytes += body.sizeBytes
    batch.log.append(body.memory, () => body.releaseMemory())
  }

  return {
    get isDone() {
      return head === entries.length && !entries.hasNews
    },
    next(end, spill) {
      const batch: Batch = {
        facts: [],
        log: new LogBytes(staging),
        bodyBytes: 0,
        nameLength: 0,
        extents: [],
        sealedEntries: 0,
        failedEntries: 0,
      }
      addSealable(batch, end)
      addNews(batch)
      if (spill !== 'none') addSpills(batch, end, spill)
      batch.log.close()
      return batch
    },
  }
}

function isFull({ log, facts, nameLength }: Batch): boolean {
  return log.bytes >= MAX_BATCH_BYTES || facts.length >= MAX_BATCH_FACTS || nameLength >= MAX_BATCH_NAMES
}
