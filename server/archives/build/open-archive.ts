// Takes an archive over from whoever built it before: its files, and its entries as far as their bytes are sound.
import type { Log } from '../../lib/log.ts'
import { type ArchiveRecord, StaleSeqError } from '../../ports/journal.ts'
import type { Keep, SpoolWriter } from '../../ports/spool.ts'
import type { Layout } from '../bytes/layout.ts'
import { type Entry, PENDING } from './entry.ts'
import type { BuildJournal, BuildSpool } from './patience.ts'
import { recoverEntries, verifySealed, verifyStaged } from './recover.ts'
import { createSealer, type Sealer } from './sealer.ts'

/** What the builder gives, and what it is told on the way. */
export interface Opening {
  readonly record: ArchiveRecord
  /** Where the journal stands, as the builder believes. */
  readonly lastSeq: number
  readonly layout: Layout
  readonly journal: BuildJournal
  readonly spool: BuildSpool
  readonly log: Log
  readonly signal: AbortSignal
  /** As the journal has them, before a byte of them is looked at. */
  recovered(entries: Entry[], failedEntries: number): void
  /** More of the layout is checked. */
  progressed(): void
  /** What readers may have seen is lost. Resolves once the journal says so, and the layout is empty. */
  rewind(): Promise<void>
}

export interface Opened {
  readonly writer: SpoolWriter
  readonly entries: Entry[]
  readonly sealer: Sealer
  readonly sealedEntries: number
  /** Of all bodies that are whole. */
  readonly wholeBytes: number
}

/** Of an archive that has nothing yet, or whose bytes were lost. */
const NOTHING: Keep = new Map()

export async function openArchive(opening: Opening): Promise<Opened> {
  const { record, layout, journal, spool, signal, progressed } = opening
  const { archiveId, totalEntries } = record
  if (opening.lastSeq === 1) return openEmpty(opening, new Array(totalEntries).fill(PENDING))
  const { entries, sealed, failedEntries, keep } = await recoverEntries(journal, archiveId, totalEntries)
  opening.recovered(entries, failedEntries)
  const sealer = createSealer(record)
  const writer = await openWriter(opening, keep)
  let isSound = false
  try {
    await using reader = spool.reader(archiveId)
    isSound = await verifySealed({ sealed, sealer, layout, reader, progressed, signal })
    if (isSound) await verifyStaged(entries, reader, writer, signal)
  } catch (error) {
    await writer[Symbol.asyncDispose]()
    throw error
  }
  if (!isSound) {
    await writer[Symbol.asyncDispose]()
    return rewind(opening, entries)
  }
  let wholeBytes = sealed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  for (const entry of entries) if (entry.state === 'spooled') wholeBytes += entry.at.sizeBytes
  return { writer, entries, sealer, sealedEntries: sealed.length, wholeBytes }
}

/** Everything but the failures begins anew. */
async function rewind(opening: Opening, before: readonly Entry[]): Promise<Opened> {
  opening.log.warn('sealed bytes were lost; fetching again', { archive: opening.record.archiveId })
  await opening.rewind()
  const entries = before.map((entry) => (entry.state === 'failed' ? entry : PENDING))
  opening.recovered(entries, entries.filter(({ state }) => state === 'failed').length)
  return openEmpty(opening, entries)
}

async function openEmpty(opening: Opening, entries: Entry[]): Promise<Opened> {
  const writer = await openWriter(opening, NOTHING)
  return { writer, entries, sealer: createSealer(opening.record), sealedEntries: 0, wholeBytes: 0 }
}

/** The archive's files as one's own: whoever has gone on with it meanwhile is not harmed. */
async function openWriter({ journal, spool, record, lastSeq }: Opening, keep: Keep): Promise<SpoolWriter> {
  const writer = await spool.writer(record.archiveId, keep)
  try {
    const found = await journal.get(record.archiveId)
    if (found?.lastSeq !== lastSeq || found.swept) throw new StaleSeqError('another builder has gone on')
    await writer.discardRest()
    return writer
  } catch (error) {
    await writer[Symbol.asyncDispose]()
    throw error
  }
}
