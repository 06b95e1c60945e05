// The events of an archive, as every client sees them. Values are JSON-native: times ISO 8601, sizes safe integers.
import type { ArchiveFormat, ArchiveId } from './archive.ts'
import type { AbortCode, EntryFailureCode } from './failures.ts'

/** Where the archive stands. Absolute, never a delta: merging or dropping some loses nothing. */
export interface Progress {
  phase: 'queued' | 'fetching' | 'packing'
  /** Archives before this one, 0 = next; null once it is building. */
  queuePosition: number | null
  sealedEntries: number
  failedEntries: number
  totalEntries: number
  /** Bytes of bodies received so far, of settled and running entries. */
  receivedBytes: number
  /** What the bodies come to, as far as origins have told; null while nothing is known. */
  expectedBytes: number | null
  /** Bytes of the archive that can be downloaded now. */
  readableBytes: number
  /** Of bodies, averaged over the last few seconds. */
  bytesPerSecond: number
  /** Entries under way, at most 32 of them. */
  active: ActiveEntry[]
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
  /** Root-relative; downloads the archive, also while it grows. Keep it as secret as the content. */
  href: string
  acceptedAt: string
}

export type ProgressEvent = { type: 'progress' } & Progress

export interface FileFailedEvent {
  type: 'file-failed'
  /** Place in the manifest, from 0. */
  index: number
  /** As given, cut to 2 048 characters. */
  url: string
  /** As asked for in the manifest, cut to 2 048 characters, else null. */
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
  /** Of the whole archive, 64 hexadecimal digits; null unless the checksum was asked for. */
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

/** Nothing follows these. */
export type TerminalEvent = CompleteEvent | AbortedEvent

export function isTerminal(event: ArchiveEvent): event is TerminalEvent {
  return event.type === 'complete' || event.type === 'aborted'
}
