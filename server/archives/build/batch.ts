// Decides what the next write of an archive holds: the bytes for the log and the facts for the journal. No I/O.
import type { ArchiveFormat } from '#contracts/archive.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Fact } from '../../ports/journal.ts'
import type { SpoolWriter } from '../../ports/spool.ts'
import { appendExtent, type GrowingExtent } from '../bytes/layout.ts'
import { LogBytes } from '../bytes/log-bytes.ts'
import type { StagingMemory } from '../bytes/staging-memory.ts'
import { type Entry, inLog } from './entry.ts'
import type { EntryTable, WholeEntry } from './entry-table.ts'
import type { BodyInLog, Sealer } from './sealer.ts'

/** Limits of one write and one transaction. They are checked before a body is added, so the last body may pass them. */
const MAX_BATCH_BYTES = 8 * 1024 * 1024
const MAX_BATCH_FACTS = 1_000
/** Limit in UTF-16 units. Cleaning a name takes about 40 ns for each unit, and up to 300 ns for a malicious name. */
const MAX_BATCH_NAMES = 128 * 1024
/** How long a whole body may wait in memory for its turn. Then it is written, so that a crash does not lose it. */
const SPILL_AFTER_MS = 500

export interface Batch {
  readonly facts: Fact[]
  /** The bytes to append to the log. The caller releases them after the write, even if it failed. */
  readonly log: LogBytes
  /** The extents to add to the archive once the batch is durable. */
  readonly extents: GrowingExtent[]
  /** Total size of its bodies as they were received, before any deflating. */
  bodyBytes: number
  /** Total length of the proposed names in it, in UTF-16 units. */
  nameLength: number
  sealedEntries: number
  failedEntries: number
}

export type LogEnd = Pick<SpoolWriter, 'log' | 'logBytes'>

/** Which bodies in memory are written before their turn. */
export type Spill = 'none' | 'overdue' | 'all'

export interface Batcher {
  /** Whether every entry is sealed or failed, and was part of a batch. */
  readonly isDone: boolean
  /** Makes the batch that is appended at `end`. If it is full, there may be more for another batch. */
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
  /** Index of the first entry that is neither sealed nor journalled as failed. */
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
      const header = { log, offset: logBytes + batch.log.bytes, allocate: batch.log.allocate }
      const placed =
        entry.state === 'whole'
          ? sealer.placeInLog(bodyOf(head, entry), header)
          : sealer.placeSpooled({ ...entry.at, ...entry.facts, index: head }, header)
      if (entry.state === 'whole') takeMemory(batch, entry)
      if (format === 'zip') for (const extent of placed.extents) appendExtent(batch.extents, extent)
      batch.nameLength += entry.facts.proposedName.length
      batch.facts.push(placed.fact)
      batch.sealedEntries++
      entries.seal(head)
    }
  }

  /** Adds what need not wait for its turn: failures, for the client to see, and whole parts, to survive a crash. */
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

  /** Appends bodies that have waited for long to the log. They get their place in the archive when their turn comes. */
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

function bodyOf(index: number, { body, deflated, facts }: WholeEntry): BodyInLog {
  const { sizeBytes, crc32 } = body
  const { modifiedMs, proposedName } = facts
  return { index, sizeBytes, crc32, deflated, modifiedMs, proposedName }
}

function isFull({ log, facts, nameLength }: Batch): boolean {
  return log.bytes >= MAX_BATCH_BYTES || facts.length >= MAX_BATCH_FACTS || nameLength >= MAX_BATCH_NAMES
}
