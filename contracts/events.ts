// The events of an archive, as every client sees them. Values are JSON-native: times are ISO 8601, sizes safe integers.
import type { ArchiveFormat, ArchiveId } from './archive.ts'
import type { AbortCode, EntryFailureCode } from './failures.ts'

/** How far the archive has come. Values are absolute, so merging or dropping some of these loses nothing. */
export interface Progress {
  phase: 'queued' | 'fetching' | 'packing'
  /** How many archives are before this one; 0: it is next; null: it is being built. */
  queuePosition: number | null
  sealedEntries: number
  failedEntries: number
  totalEntries: number
  /** Bytes of bodies received so far, for settled and running entries. */
  receivedBytes: number
  /** Total size of the bodies, as far as origins have reported sizes; null while nothing is known. */
  expectedBytes: number | null
  /** Bytes of the archive that can be downloaded now. */
  readableBytes: number
  /** Bytes of bodies a second, averaged over the last few seconds. */
  bytesPerSecond: number
  /** Up to 32 of the entries under way. */
  active: ActiveEntry[]
  /** Origins that have asked to be left alone for a while, at most 32 of them. */
  waiting: WaitingOrigin[]
}

export interface WaitingOrigin {
  /** Scheme, host and port, as in "https://images.example.org". */
  origin: string
  /** How long it is still left alone, in milliseconds. */
  untilMs: number
  /** Entries that wait for it, of those that the server has begun to work on. */
  entries: number
}

export interface ActiveEntry {
  index: number
  receivedBytes: number
  sizeBytes: number | null
  /** 1 for the first. */
  attempt: number
}

/** First event: the manifest is durable and will be built. */
export interface AcceptedEvent {
  type: 'accepted'
  archiveId: ArchiveId
  protocol: 1
  /** File name of the archive, extension included. */
  name: string
  format: ArchiveFormat
  totalEntries: number
  /** Downloads the archive, even while it grows. Relative to the root. Keep it as secret as the content. */
  href: string
  acceptedAt: string
}

export type ProgressEvent = { type: 'progress' } & Progress

export interface FileFailedEvent {
  type: 'file-failed'
  /** Place in the manifest, from 0. */
  index: number
  /** The URL as given, cut to 2 048 characters. */
  url: string
  /** The name that the manifest asked for, cut to 2 048 characters; null if it asked for none. */
  name: string | null
  code: EntryFailureCode
  message: string
  retryable: boolean
  attempts: number
  httpStatus: number | null
}

export interface CompleteEvent {
  type: 'complete'
  href: string
  sizeBytes: number
  etag: string
  /** SHA-256 of the whole archive, 64 hexadecimal digits; null unless the checksum was asked for. */
  sha256: string | null
  sealedEntries: number
  failedEntries: number
  durationMs: number
  expiresAt: string
}

export interface AbortedEvent {
  type: 'aborted'
  code: AbortCode
  message: string
  retryable: boolean
}

export type ArchiveEvent = AcceptedEvent | ProgressEvent | FileFailedEvent | CompleteEvent | AbortedEvent

/** No event follows these. */
export type TerminalEvent = CompleteEvent | AbortedEvent

export function isTerminal(event: ArchiveEvent): event is TerminalEvent {
  return event.type === 'complete' || event.type === 'aborted'
}
