// Opens an archive for its builder: takes its files over, and recovers the entries whose bytes are still sound.
import type { Log } from '../../lib/log.ts'
import { type ArchiveRecord, StaleSeqError } from '../../ports/journal.ts'
import type { Keep, SpoolWriter } from '../../ports/spool.ts'
import type { Layout } from '../bytes/layout.ts'
import type { EntryTable } from './entry-table.ts'
import type { BuildJournal, BuildSpool } from './patience.ts'
import { recoverEntries, verifySealed, verifyStaged } from './recover.ts'
import { createSealer, type Sealer } from './sealer.ts'

/** What the builder provides, with the callbacks that report progress to it. */
export interface Opening {
  readonly record: ArchiveRecord
  /** Number of the last fact, as far as the builder knows. */
  lastSeq(): number
  readonly layout: Layout
  readonly journal: BuildJournal
  readonly spool: BuildSpool
  readonly log: Log
  readonly signal: AbortSignal
  /** All entries are pending at first, and are set to what is recovered. */
  readonly entries: EntryTable
  /** Called when the entries are as the journal has them. Their bytes are not checked yet. */
  recovered(): void
  /** Called when more of the layout is checked. */
  progressed(): void
  /** Called when bytes are lost that readers may have seen. Resolves once that is journalled and the layout is empty. */
  rewind(): Promise<void>
}

export interface Opened {
  readonly writer: SpoolWriter
  readonly sealer: Sealer
}

/** Keeps no file: the archive has no bytes yet, or lost them. */
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

/** Starts again with everything except the failures. */
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

/** Discards left-overs only after the journal shows that no other builder has continued the archive meanwhile. */
async function openWriter({ journal, spool, record, lastSeq }: Opening, keep: Keep): Promise<SpoolWriter> {
  const writer = await spool.writer(record.archiveId, keep)
  try {
    const found = await journal.get(record.archiveId)
    if (found?.lastSeq !== lastSeq() || found.swept)
      throw new StaleSeqError('another builder has continued the archive')
    await writer.discardRest()
    return writer
  } catch (error) {
    await writer[Symbol.asyncDispose]()
    throw error
  }
}
