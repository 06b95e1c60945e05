// Takes an archive over from whoever built it before: its files, and its entries as far as their bytes are sound.
import type { Log } from '../../lib/log.ts'
import { type ArchiveRecord, StaleSeqError } from '../../ports/journal.ts'
import type { Keep, SpoolWriter } from '../../ports/spool.ts'
import type { Layout } from '../bytes/layout.ts'
import type { EntryTable } from './entry-table.ts'
import type { BuildJournal, BuildSpool } from './patience.ts'
import { recoverEntries, verifySealed, verifyStaged } from './recover.ts'
import { createSealer, type Sealer } from './sealer.ts'

/** What the builder gives, and what it is told on the way. */
export interface Opening {
  readonly record: ArchiveRecord
  /** Where the journal stands, as the builder believes. */
  lastSeq(): number
  readonly layout: Layout
  readonly journal: BuildJournal
  readonly spool: BuildSpool
  readonly log: Log
  readonly signal: AbortSignal
  /** All pending; filled with what is recovered. */
  readonly entries: EntryTable
  /** The entries are as the journal has them; not a byte of them has been looked at. */
  recovered(): void
  /** More of the layout is checked. */
  progressed(): void
  /** What readers may have seen is lost. Resolves once the journal says so, and the layout is empty. */
  rewind(): Promise<void>
}

export interface Opened {
  readonly writer: SpoolWriter
  readonly sealer: Sealer
}

/** Of an archive that has nothing yet, or whose bytes were lost. */
const NOTHING: Keep = new Map()

export async function openArchive(opening: Opening): Promise<Opened> {
  const { record, layout, journal, spool, signal, entries, progressed } = opening
  const { archiveId } = record
  if (opening.lastSeq() === 1) return openEmpty(opening)
  const { sealed, keep } = await recoverEntries(journal, archiveId, entries)
  opening.recovered()
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
    return rewind(opening)
  }
  return { writer, sealer }
}

/** Everything but the failures begins anew. */
async function rewind(opening: Opening): Promise<Opened> {
  opening.log.warn('sealed bytes were lost; fetching again', { archive: opening.record.archiveId })
  await opening.rewind()
  opening.entries.rewind()
  opening.recovered()
  return openEmpty(opening)
}

async function openEmpty(opening: Opening): Promise<Opened> {
  const writer = await openWriter(opening, NOTHING)
  return { writer, sealer: createSealer(opening.record) }
}

/** The archive's files as one's own: whoever has gone on with it meanwhile is not harmed. */
async function openWriter({ journal, spool, record, lastSeq }: Opening, keep: Keep): Promise<SpoolWriter> {
  const writer = await spool.writer(record.archiveId, keep)
  try {
    const found = await journal.get(record.archiveId)
    if (found?.lastSeq !== lastSeq() || found.swept) throw new StaleSeqError('another builder has gone on')
    await writer.discardRest()
    return writer
  } catch (error) {
    await writer[Symbol.asyncDispose]()
    throw error
  }
}
