// Derives ids, hashes and file names from what a client asked for. No I/O.
import { createHash } from 'node:crypto'
import {
  type ArchiveFormat,
  type ArchiveId,
  type ArchiveKey,
  type Compression,
  type CreateArchiveInput,
  type EntryInput,
  nameOf,
  urlOf,
} from '#contracts/archive.ts'
import type { ArchiveRequest } from '../ports/journal.ts'
import { cleanEntryName } from '../zip/entry-name.ts'

/** Turns the secret key into a public id: 128 bits of a SHA-256 over the principal and the key. */
export function archiveIdOf(principal: string, archiveKey: ArchiveKey): ArchiveId {
  return createHash('sha256')
    .update(JSON.stringify([principal, archiveKey]))
    .digest()
    .subarray(0, 16)
    .toString('base64url')
}

/** Two submissions have the same hash if they ask for the same, even if they are spelled differently. */
export function manifestHashOf(input: CreateArchiveInput): string {
  const { maxPerOrigin, ...what } = withDefaults(input)
  return hashOf(what)
}

function hashOf({ entries, ...choices }: Omit<Manifest, 'maxPerOrigin'>): string {
  return createHash('sha256')
    .update(JSON.stringify([choices, entries]))
    .digest('base64url')
}

/** Whether entries and request are still those that were submitted. */
export function isIntact(request: ArchiveRequest, entries: EntryInput[]): boolean {
  const { name, format, compression, report, checksum, onEntryFailure, whenUnwatched, manifestHash } = request
  const choices = { name, format, compression, report, checksum, onEntryFailure, whenUnwatched }
  return hashOf({ entries, ...choices }) === manifestHash
}

export interface Manifest {
  readonly entries: readonly EntryInput[]
  /** File name, extension included. */
  readonly name: string
  readonly format: ArchiveFormat
  readonly compression: Compression
  readonly report: boolean
  readonly checksum: 'sha-256' | null
  readonly onEntryFailure: 'skip' | 'abort'
  readonly whenUnwatched: 'abort' | 'finish'
  /** How it is fetched, not what it is. */
  readonly maxPerOrigin?: number | undefined
}

export function withDefaults(input: CreateArchiveInput): Manifest {
  const { name = 'archive', format = 'zip', compression = 'store', report = false, checksum = null } = input
  const { onEntryFailure = 'skip', whenUnwatched = 'abort', maxPerOrigin } = input
  // `{ url }` and the bare URL ask for the same, so both must hash alike.
  const entries = input.entries.map((entry) => {
    if (typeof entry === 'string') return entry
    return entry.name === undefined ? entry.url : { url: entry.url, name: entry.name }
  })
  const fileName = fileNameOf(name, format)
  return {
    entries,
    name: fileName,
    format,
    compression,
    report,
    checksum,
    onEntryFailure,
    whenUnwatched,
    ...(maxPerOrigin && { maxPerOrigin }),
  }
}

/** A file name that is safe on every system, with the extension of the format. */
export function fileNameOf(name: string, format: ArchiveFormat): string {
  const extension = `.${format}`
  const stem = name.toLowerCase().endsWith(extension) ? name.slice(0, -extension.length) : name
  const cleaned = stem.trim() === '' ? 'archive' : cleanEntryName(stem.replaceAll(/[/\\]/g, '_'), 0)
  // The extension may have made the name too long, so it is cleaned once more.
  return cleanEntryName([...cleaned].slice(0, 100).join('') + extension, 0)
}

/** About the size of the list as JSON in UTF-8. Names and URLs are counted exactly, punctuation is estimated. */
export function manifestBytes(entries: readonly EntryInput[]): number {
  let bytes = 2
  for (const entry of entries) bytes += Buffer.byteLength(urlOf(entry)) + Buffer.byteLength(nameOf(entry) ?? '') + 3
  return bytes
}
