// Gives whole entries their place: final name, header, extents, directory. In manifest order; no I/O of its own.
import { type ArchiveFormat, REPORT_NAME } from '#contracts/archive.ts'
import type { Extent, Fact, Measured, SealedFact, WholeBody } from '../../ports/journal.ts'
import { LOG } from '../../ports/spool.ts'
import type { TarMember } from '../../tar/pack.ts'
import { cleanEntryName, createNamer } from '../../zip/entry-name.ts'
import { type Allocate, createZipWriter, type Member } from '../../zip/writer.ts'
import { heldBytes } from './entry.ts'

/** For sources that say nothing of their date, or nothing that is one: the earliest a zip can tell. */
const DEFAULT_MODIFIED_MS = Date.UTC(1980, 0, 1)

type SealFact = Extract<Fact, { type: 'entry-sealed' }>

type Body = Pick<WholeBody, 'sizeBytes' | 'crc32' | 'deflated' | 'modifiedMs'>

type BodyAt = Pick<WholeBody, 'file' | 'offset'>

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
   * @param log which log the header will lie in
   * @param headerAt where it will lie there
   * @param bodyAt where the body lies; null: in the log, right after the header
   * @param allocate gives the header's memory
   */
  place(
    body: Omit<WholeBody, 'file' | 'offset'>,
    log: string,
    headerAt: number,
    bodyAt: BodyAt | null,
    allocate?: Allocate,
  ): Placed
  /** Places an entry again that was sealed before a restart. */
  replace(fact: SealedFact): Placed
  /** Places the report in the log, under the name that was kept for it. */
  placeReport(report: Measured, log: string, headerAt: number): Omit<Placed, 'fact'>
  /** What follows the last body of a zip. */
  trailer(): Buffer[]
  /** All entries so far: what a tar is packed from. */
  readonly members: readonly (Omit<TarMember, 'open'> & { readonly file: string; readonly offset: number })[]
}

export interface SealerOptions {
  format: ArchiveFormat
  /** Keeps the report's name for it. @default false */
  report?: boolean
}

export function createSealer({ format, report = false }: SealerOptions): Sealer {
  const namer = createNamer()
  if (report) namer.take(REPORT_NAME)
  const zip = format === 'zip' ? createZipWriter() : null
  const members: (Omit<TarMember, 'open'> & { file: string; offset: number })[] = []
  /** Where the next header will stand in the archive. */
  let archiveBytes = 0

  function add(
    name: string,
    body: Body,
    log: string,
    headerAt: number,
    bodyAt: BodyAt | null,
    allocate?: Allocate,
  ): Omit<Placed, 'fact'> {
    const member = zipMember(name, body)
    const header = zip?.header(member, archiveBytes, allocate) ?? null
    const headerBytes = header?.length ?? 0
    const bodyBytes = heldBytes(body).sizeBytes
    archiveBytes += headerBytes + bodyBytes
    if (zip === null) {
      const { file, offset } = bodyAt ?? { file: log, offset: headerAt }
      members.push({ name, sizeBytes: body.sizeBytes, modifiedMs: member.modifiedMs, file, offset })
    }
    const extents =
      bodyAt === null
        ? [{ file: log, offset: headerAt, length: headerBytes + bodyBytes }]
        : [
            { file: log, offset: headerAt, length: headerBytes },
            { file: bodyAt.file, offset: bodyAt.offset, length: bodyBytes },
          ]
    return { header, extents }
  }

  const place: Sealer['place'] = (body, log, headerAt, bodyAt, allocate) => {
    const { index, sizeBytes, crc32, deflated, modifiedMs, proposedName } = body
    const name = namer.take(cleanEntryName(proposedName, index))
    const { header, extents } = add(name, body, log, headerAt, bodyAt, allocate)
    const headerEnd = header === null ? null : headerAt + header.length
    const file = bodyAt === null ? log : bodyAt.file
    const offset = bodyAt === null ? (headerEnd ?? headerAt) : bodyAt.offset
    const fact = {
      type: 'entry-sealed',
      name,
      headerEnd,
      index,
      file,
      offset,
      sizeBytes,
      crc32,
      deflated,
      modifiedMs,
      proposedName,
    } as const
    // Nearly all of them need not say it, and each is kept in the journal.
    if (log !== LOG && header !== null) return { fact: { ...fact, headerFile: log }, header, extents }
    return { fact, header, extents }
  }

  return {
    members,
    place,
    replace(fact) {
      const { headerEnd, headerFile = LOG, file, offset, name } = fact
      const headerBytes = zip === null ? 0 : zip.headerBytes(zipMember(name, fact))
      return place(fact, headerFile, (headerEnd ?? 0) - headerBytes, { file, offset })
    },
    placeReport: (report, log, headerAt) =>
      add(REPORT_NAME, { ...report, deflated: null, modifiedMs: null }, log, headerAt, null),
    trailer: () => zip?.trailer(archiveBytes) ?? [],
  }
}

function zipMember(name: string, { sizeBytes, crc32, deflated, modifiedMs }: Body): Member {
  // A journal keeps an infinite number as none: before and after a restart the bytes must be the same.
  const date = Number.isFinite(modifiedMs) ? modifiedMs! : DEFAULT_MODIFIED_MS
  return { name, crc32, size: sizeBytes, deflatedSize: deflated?.sizeBytes ?? null, modifiedMs: date }
}
