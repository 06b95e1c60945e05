// Recovers the entries of an archive from its facts after a restart. Trusts no byte of the spool that it did not check.
import { setImmediate as breathe } from 'node:timers/promises'
import { crc32 } from '../../lib/crc32.ts'
import type { Fact, SealedFact } from '../../ports/journal.ts'
import { type Keep, LOG, type SpoolReader, type SpoolWriter } from '../../ports/spool.ts'
import { UnavailableError } from '../../ports/unavailable.ts'
import type { Layout } from '../bytes/layout.ts'
import { heldBytes, type SpooledBody } from './entry.ts'
import type { EntryTable } from './entry-table.ts'
import type { BuildJournal } from './patience.ts'
import type { Sealer } from './sealer.ts'

export interface Recovered {
  /** In the order of sealing, which is the order of the manifest. */
  readonly sealed: SealedFact[]
  /** What the journal needs of each spool file. Everything else in the spool can be removed. */
  readonly keep: Keep
}

const PAGE = 2_000
const SCRATCH_BYTES = 256 * 1024
/** After so many checked entries readers are notified and other work gets a turn. */
const ENTRIES_A_TIME = 100

/** The journal holds a fact of a later version, so this version must not continue the archive. */
export class UnknownFactError extends Error {
  override readonly name = 'UnknownFactError'
}

/** Fills the table with what the journal says. Reads nothing from the spool. */
export async function recoverEntries(
  journal: Pick<BuildJournal, 'facts'>,
  archiveId: string,
  entries: EntryTable,
): Promise<Recovered> {
  let sealed: SealedFact[] = []
  for (let after = 1; ; ) {
    const page = await journal.facts(archiveId, after, PAGE)
    for (const fact of page) {
      switch (fact.type) {
        case 'entry-begun':
        case 'entry-staged':
        case 'entry-failed':
          entries.restore(fact)
          break
        case 'entry-sealed':
          entries.restore(fact)
          sealed.push(fact)
          break
        case 'rewound':
          entries.rewind()
          sealed = []
          break
        case 'archive-sealed':
        case 'aborted':
          break
        default:
          throw new UnknownFactError(`a fact of type ${JSON.stringify((fact as { type: unknown }).type)}`)
      }
    }
    if (page.length < PAGE) break
    after = page.at(-1)!.seq
  }
  return { sealed, keep: kept(entries, sealed) }
}

function kept(entries: EntryTable, sealed: readonly SealedFact[]): Keep {
  const ends = new Map<string, number>()
  const keep = (file: string, end: number) => ends.set(file, Math.max(ends.get(file) ?? 0, end))
  const keepBody = (body: SpooledBody) => keep(body.file, body.offset + heldBytes(body).sizeBytes)
  for (const fact of sealed) {
    keepBody(fact)
    if (fact.headerEnd !== null) keep(fact.headerFile ?? LOG, fact.headerEnd)
  }
  for (let index = 0; index < entries.length; index++) {
    const entry = entries.at(index)
    if (entry.state === 'spooled') keepBody(entry.at)
    if (entry.state === 'begun') keep(entry.fact.file, entry.fact.receivedBytes)
  }
  return ends
}

export interface Verification {
  readonly sealed: readonly SealedFact[]
  readonly sealer: Sealer
  readonly layout: Layout
  readonly reader: SpoolReader
  /** Called when more of the layout is checked and can be read. */
  readonly progressed: () => void
  readonly signal: AbortSignal
}

/** Checks the headers and bodies of all sealed entries and adds them to the layout. False if any byte has changed. */
export async function verifySealed(verification: Verification): Promise<boolean> {
  const { sealed, sealer, layout, reader, progressed, signal } = verification
  const scratch = Buffer.allocUnsafe(SCRATCH_BYTES)
  for (const [count, fact] of sealed.entries()) {
    if (signal.aborted) return true
    const { header, extents } = sealer.replace(fact)
    if (header !== null) {
      const found = scratch.subarray(0, header.length)
      const bytes = await readIfThere(reader, extents[0]!.file, extents[0]!.offset, found)
      if (bytes !== header.length || !found.equals(header)) return false
    }
    if (!(await bytesMatch(reader, fact, scratch))) return false
    // A format without headers has no layout yet, only bodies that are packed at the end.
    if (header !== null) for (const extent of extents) layout.add(extent)
    if (count % ENTRIES_A_TIME > 0) continue
    progressed()
    // Empty bodies are checked without a read, so without this pause others would not get a turn.
    await breathe()
  }
  progressed()
  return true
}

/** Checks the bodies that are whole or begun. If bytes of one are lost, its part is removed and it becomes pending again. */
export async function verifyStaged(
  entries: EntryTable,
  reader: SpoolReader,
  writer: SpoolWriter,
  signal: AbortSignal,
): Promise<void> {
  const scratch = Buffer.allocUnsafe(SCRATCH_BYTES)
  for (let index = 0; index < entries.length; index++) {
    if (signal.aborted) return
    const entry = entries.at(index)
    if (entry.state !== 'spooled' && entry.state !== 'begun') continue
    const at = entry.state === 'spooled' ? entry.at : begunBytes(entry.fact)
    if (await bytesMatch(reader, at, scratch)) continue
    if (at.file !== writer.log) await writer.discardPart(at.file)
    entries.reset(index)
  }
}

function begunBytes({ file, receivedBytes, crc32 }: Extract<Fact, { type: 'entry-begun' }>): SpooledBody {
  return { file, offset: 0, sizeBytes: receivedBytes, crc32, deflated: null }
}

/** Reads, or returns 0 if the file is gone. A file that is unavailable for now is not gone, so that error is thrown. */
function readIfThere(reader: SpoolReader, file: string, offset: number, target: Uint8Array): Promise<number> {
  return reader.read(file, offset, target).catch((error) => {
    if (error instanceof UnavailableError) throw error
    return 0
  })
}

/** Whether the spool still holds exactly these bytes. `scratch` is the memory for reading. */
export async function bytesMatch(reader: SpoolReader, body: SpooledBody, scratch: Uint8Array): Promise<boolean> {
  const held = heldBytes(body)
  let crc = 0
  for (let done = 0; done < held.sizeBytes; ) {
    const target = scratch.subarray(0, Math.min(scratch.length, held.sizeBytes - done))
    const bytes = await readIfThere(reader, body.file, body.offset + done, target)
    if (bytes === 0) return false
    crc = crc32(target.subarray(0, bytes), crc)
    done += bytes
  }
  return crc === held.crc32
}
