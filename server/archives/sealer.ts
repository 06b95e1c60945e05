// Gives whole entries their place: final name, header, extents, directory. In manifest order; no I/O of its own.
import type { ArchiveFormat } from '#contracts/archive.ts'
import type { Extent, Fact, WholeBody } from '../ports/journal.ts'
import { LOG } from '../ports/spool.ts'
import type { TarMember } from '../tar/pack.ts'
import { cleanEntryName, createNamer } from '../zip/entry-name.ts'
import { createZipWriter } from '../zip/writer.ts'
import type { SealedFact } from './entry.ts'

/** For sources that say nothing of their date: the earliest a zip can tell. */
const DEFAULT_MODIFIED_MS = Date.UTC(1980, 0, 1)

type SealFact = Extract<Fact, { type: 'entry-sealed' }>

export interface Placed {
  readonly fact: SealFact
  /** Stands before the body; null in formats without one. */
  readonly header: Buffer | null
  /** What the entry adds to the archive, in order. */
  readonly extents: readonly Extent[]
}

export interface Sealer {
  /**
   * Places the next entry of the archive.
   * @param headerAt where the header will lie in the log
   * @param bodyAt where the body lies; null: in the log, right after the header
   */
  place(
    body: Omit<WholeBody, 'file' | 'offset'>,
    headerAt: number,
    bodyAt: { file: string; offset: number } | null,
  ): Placed
  /** Places an entry again that was sealed before a restart. */
  replace(fact: SealedFact): Placed
  /** What follows the last body of a zip. */
  trailer(): Buffer[]
  /** All entries so far: what a tar is packed from. */
  readonly members: readonly (Omit<TarMember, 'open'> & { readonly file: string; readonly offset: number })[]
}

export function createSealer(format: ArchiveFormat): Sealer {
  const namer = createNamer()
  const zip = format === 'zip' ? createZipWriter() : null
  const members: (Omit<TarMember, 'open'> & { file: string; offset: number })[] = []
  /** Where the next header will stand in the archive. */
  let archiveBytes = 0

  const place: Sealer['place'] = (body, headerAt, bodyAt) => {
    const { index, sizeBytes, crc32, modifiedMs, proposedName } = body
    const name = namer.take(cleanEntryName(proposedName, index))
    const date = modifiedMs ?? DEFAULT_MODIFIED_MS
    const header = zip?.header({ name, size: sizeBytes, crc32, modifiedMs: date }, archiveBytes) ?? null
    const headerBytes = header?.length ?? 0
    const at = bodyAt ?? { file: LOG, offset: headerAt + headerBytes }
    const extents = [
      { file: LOG, offset: headerAt, length: headerBytes },
      { ...at, length: sizeBytes },
    ]
    archiveBytes += headerBytes + sizeBytes
    if (zip === null) members.push({ name, sizeBytes, modifiedMs: date, ...at })
    const headerEnd = header === null ? null : headerAt + headerBytes
    const fact = {
      type: 'entry-sealed',
      index,
      name,
      headerEnd,
      ...at,
      sizeBytes,
      crc32,
      modifiedMs,
      proposedName,
    } as const
    return { fact, header, extents }
  }

  return {
    members,
    place,
    replace(fact) {
      const { headerEnd, file, offset, name, sizeBytes } = fact
      const headerBytes = zip === null ? 0 : zip.headerBytes(name, sizeBytes)
      return place(fact, (headerEnd ?? 0) - headerBytes, { file, offset })
    },
    trailer: () => zip?.trailer(archiveBytes) ?? [],
  }
}
