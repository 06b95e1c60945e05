// Closes an archive when all entries are in, and reads it back to check it, as a program that knows only the format would.
import { createHash } from 'node:crypto'
import { readDirectory } from '#contracts/formats/zip.ts'
import type { Clock } from '../../lib/clock.ts'
import { crc32 } from '../../lib/crc32.ts'
import type { ArchiveRecord, Fact } from '../../ports/journal.ts'
import type { SpoolWriter } from '../../ports/spool.ts'
import { type Layout, readLayout } from '../bytes/layout.ts'
import { checkTar } from './check-tar.ts'
import { packMembers } from './pack-members.ts'
import type { BuildJournal, BuildSpool } from './patience.ts'
import { reportOf } from './report.ts'
import type { Sealer } from './sealer.ts'

export interface Closing {
  readonly record: ArchiveRecord
  readonly journal: BuildJournal
  readonly spool: BuildSpool
  readonly writer: SpoolWriter
  readonly sealer: Sealer
  readonly layout: Layout
  readonly sealedEntries: number
  readonly signal: AbortSignal
}

export interface Sealing extends Closing {
  readonly failedEntries: number
  readonly clock: Clock
  readonly retentionMs: number
  /** Called when all bytes of the archive can be read. They are not checked yet. */
  closed(): void
  /** Resolves when no other work on the spool is under way. */
  settled(): Promise<void>
}

type ArchiveSealedFact = Extract<Fact, { type: 'archive-sealed' }>

/** Closes, syncs and checks the archive. Returns the fact to journal. */
export async function sealArchive(sealing: Sealing): Promise<ArchiveSealedFact> {
  const { record, writer, layout, clock, sealedEntries, failedEntries, retentionMs } = sealing
  await closeArchive(sealing)
  sealing.closed()
  await sealing.settled()
  await writer.sync()
  const sha256 = await checkArchive(sealing)
  const sealedAtMs = clock.wallMs()
  return {
    type: 'archive-sealed',
    sizeBytes: layout.readableBytes,
    extents: layout.extents,
    sealedEntries,
    failedEntries,
    durationMs: sealedAtMs - record.acceptedAtMs,
    sha256,
    sealedAtMs,
    expiresAtMs: sealedAtMs + retentionMs,
  }
}

/** Adds the report if it was asked for. Then it writes the directory of a zip, or packs the whole tar. */
export async function closeArchive(closing: Closing): Promise<void> {
  const { record, spool, writer, sealer, layout, signal } = closing
  if (record.report) await addReport(closing)
  if (record.format === 'zip') {
    const offset = writer.logBytes
    await writer.appendLog(sealer.trailer())
    layout.add({ file: writer.log, offset, length: writer.logBytes - offset })
  } else {
    const gzip = record.format === 'tar.gz'
    layout.add(await packMembers(spool.reader(record.archiveId), writer, sealer.members, gzip, signal))
  }
}

async function addReport({ record, journal, writer, sealer, layout }: Closing): Promise<void> {
  const pieces = await reportOf(journal, record)
  let sizeBytes = 0
  let checksum = 0
  for (const piece of pieces) {
    sizeBytes += piece.length
    checksum = crc32(piece, checksum)
  }
  const { header, extents } = sealer.placeReport(
    { sizeBytes, crc32: checksum },
    { log: writer.log, offset: writer.logBytes },
  )
  await writer.appendLog(header === null ? pieces : [header, ...pieces])
  if (header !== null) for (const extent of extents) layout.add(extent)
}

const HASHED_AT_A_TIME_BYTES = 1024 * 1024

/**
 * Reads a zip's directory or a tar's headers back. If a digest was asked for, it reads the whole archive.
 * @returns the SHA-256 in hexadecimal, or null
 * @throws if the archive has other members than were placed
 */
export async function checkArchive(closing: Closing): Promise<string | null> {
  const { record, spool, sealer, layout, sealedEntries, signal } = closing
  await using reader = spool.reader(record.archiveId)
  const fill = (offset: number, target: Uint8Array) => readLayout(layout, (...at) => reader.read(...at), offset, target)
  if (record.format === 'zip') {
    let members = 0
    const read = async (offset: number, length: number) => {
      const target = Buffer.allocUnsafe(length)
      return target.subarray(0, await fill(offset, target))
    }
    for await (const found of readDirectory(read, layout.readableBytes)) members += found.length
    const expected = sealedEntries + (record.report ? 1 : 0)
    if (members !== expected) throw new Error(`${expected} members placed, ${members} in the zip`)
  } else {
    const gzip = record.format === 'tar.gz'
    await checkTar({ fill, sizeBytes: layout.readableBytes, gzip, members: sealer.members, signal })
  }
  if (record.checksum === null) return null
  const hash = createHash('sha256')
  const window = Buffer.allocUnsafe(HASHED_AT_A_TIME_BYTES)
  for (let position = 0; position < layout.readableBytes && !signal.aborted; ) {
    const bytes = await fill(position, window)
    hash.update(window.subarray(0, bytes))
    position += bytes
  }
  return hash.digest('hex')
}
