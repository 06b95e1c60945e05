// Places whole entries in the archive, in the order of the manifest: final name, header and extents. Does no I/O.
import { type ArchiveFormat, REPORT_NAME } from '#contracts/archive.ts'
import type { Extent, Fact, Measured, SealedFact, WholeBody } from '../../ports/journal.ts'
import { LOG } from '../../ports/spool.ts'
import type { TarMember } from '../../tar/pack.ts'
import { cleanEntryName, createNamer } from '../../zip/entry-name.ts'
import { type Allocate, createZipWriter, type Member } from '../../zip/writer.ts'
import { heldBytes } from './entry.ts'

/** The date of a source that has no valid one. It is the earliest date that a zip can hold. */
const DEFAULT_MODIFIED_MS = Date.UTC(1980, 0, 1)

type SealFact = Extract<Fact, { type: 'entry-sealed' }>

type Body = Pick<WholeBody, 'sizeBytes' | 'crc32' | 'deflated' | 'modifiedMs'>

type Located = Pick<WholeBody, 'file' | 'offset'>

/** A body that follows its header in the log, so its place need not be said. */
export type BodyInLog = Omit<WholeBody, keyof Located>

/** Where a header will lie. */
export interface HeaderPlace {
  /** The log that it is written to. */
  readonly log: string
  readonly offset: number
  /** Provides the memory of the header. @default Buffer.allocUnsafe */
  readonly allocate?: Allocate
}

export interface Placed {
  readonly fact: SealFact
  /** Comes before the body. Null in formats without headers. */
  readonly header: Buffer | null
  /** What the entry adds to the archive, in order. */
  readonly extents: readonly Extent[]
}

type PlacedMember = Omit<TarMember, 'open'> & { readonly file: string; readonly offset: number }

export interface Sealer {
  /** Places the next entry, whose body follows its header in the log. */
  placeInLog(body: BodyInLog, header: HeaderPlace): Placed
  /** Places the next entry, whose body lies in the spool already. */
  placeSpooled(body: WholeBody, header: HeaderPlace): Placed
  /** Places an entry again that was sealed before a restart. */
  replace(fact: SealedFact): Placed
  /** Places the report in the log, under the name that was kept for it. */
  placeReport(report: Measured, header: HeaderPlace): Omit<Placed, 'fact'>
  /** Returns what follows the last body of a zip. */
  trailer(): Buffer[]
  /** The members of a tar so far, from which it is packed. A zip has none here. */
  readonly members: readonly PlacedMember[]
}

export interface SealerOptions {
  format: ArchiveFormat
  /** Whether the archive holds a report, whose name no entry may take. @default false */
  report?: boolean
}

export function createSealer({ format, report = false }: SealerOptions): Sealer {
  const namer = createNamer()
  if (report) namer.take(REPORT_NAME)
  const zip = format === 'zip' ? createZipWriter() : null
  const members: PlacedMember[] = []
  /** Where the next header will stand in the archive. */
  let archiveBytes = 0

  const nameOf = ({ proposedName, index }: BodyInLog) => namer.take(cleanEntryName(proposedName, index))

  const headerOf = (name: string, body: Body, { allocate }: HeaderPlace) =>
    zip === null ? null : zip.header(zipMember(name, body), archiveBytes, allocate)

  /** Adds a member to the archive, after its header was made. */
  function add(name: string, body: Body & Located, header: Buffer | null, at: HeaderPlace): readonly Extent[] {
    const { file, offset, sizeBytes, modifiedMs } = body
    const headerBytes = header?.length ?? 0
    const bodyBytes = heldBytes(body).sizeBytes
    archiveBytes += headerBytes + bodyBytes
    if (zip === null) members.push({ name, sizeBytes, modifiedMs: dateOf(modifiedMs), file, offset })
    // If the body follows its header, the layout makes one extent of the two.
    return [
      { file: at.log, offset: at.offset, length: headerBytes },
      { file, offset, length: bodyBytes },
    ]
  }

  function place(name: string, body: WholeBody, header: Buffer | null, at: HeaderPlace): Placed {
    return { fact: factOf(name, body, header, at), header, extents: add(name, body, header, at) }
  }

  function placeSpooled(body: WholeBody, at: HeaderPlace): Placed {
    const name = nameOf(body)
    return place(name, body, headerOf(name, body, at), at)
  }

  return {
    members,
    placeInLog(body, at) {
      const { index, sizeBytes, crc32, deflated, modifiedMs, proposedName } = body
      const name = nameOf(body)
      const header = headerOf(name, body, at)
      const { file, offset } = afterHeader(header, at)
      // This is a literal, because a spread is slower and there is one for each entry.
      return place(name, { index, file, offset, sizeBytes, crc32, deflated, modifiedMs, proposedName }, header, at)
    },
    placeSpooled,
    replace(fact) {
      const { headerEnd, headerFile = LOG, name } = fact
      const headerBytes = zip === null ? 0 : zip.headerBytes(zipMember(name, fact))
      return placeSpooled(fact, { log: headerFile, offset: (headerEnd ?? 0) - headerBytes })
    },
    placeReport(measured, at) {
      const body = { ...measured, deflated: null, modifiedMs: null }
      const header = headerOf(REPORT_NAME, body, at)
      return { header, extents: add(REPORT_NAME, { ...body, ...afterHeader(header, at) }, header, at) }
    },
    trailer: () => zip?.trailer(archiveBytes) ?? [],
  }
}

function afterHeader(header: Buffer | null, { log, offset }: HeaderPlace): Located {
  return { file: log, offset: offset + (header?.length ?? 0) }
}

function factOf(name: string, body: WholeBody, header: Buffer | null, at: HeaderPlace): SealFact {
  const { index, file, offset, sizeBytes, crc32, deflated, modifiedMs, proposedName } = body
  const fact = {
    type: 'entry-sealed',
    name,
    headerEnd: header === null ? null : at.offset + header.length,
    index,
    file,
    offset,
    sizeBytes,
    crc32,
    deflated,
    modifiedMs,
    proposedName,
  } as const
  // The journal keeps each fact, so the usual log is left out.
  return at.log === LOG || header === null ? fact : { ...fact, headerFile: at.log }
}

/** A journal keeps an infinite number as null, so it must give the same bytes as null, or a restart would change them. */
function dateOf(modifiedMs: number | null): number {
  return Number.isFinite(modifiedMs) ? modifiedMs! : DEFAULT_MODIFIED_MS
}

function zipMember(name: string, { sizeBytes, crc32, deflated, modifiedMs }: Body): Member {
  return { name, crc32, size: sizeBytes, deflatedSize: deflated?.sizeBytes ?? null, modifiedMs: dateOf(modifiedMs) }
}
