// What the router asks of a server. Implemented by the archive service; nothing here knows a transport.
import type {
  ArchiveFormat,
  CancelArchiveInput,
  CreateArchiveInput,
  ListEntriesInput,
  WatchArchiveInput,
} from './archive.ts'
import type { AcceptedEvent, ArchiveEvent } from './events.ts'
import type { EntryFailureCode } from './failures.ts'

/** Who calls: the principal is part of every archive id; the address is for limits and logs. */
export interface Caller {
  readonly principal: string
  readonly address: string
}

/** An event and its cursor: the decimal seq of the last fact it reflects. */
export interface NumberedEvent {
  readonly id: string
  readonly event: ArchiveEvent
}

export interface EntryStatus {
  index: number
  url: string
  /** Name in the archive; null until it is sealed. */
  name: string | null
  state: 'pending' | 'fetching' | 'staged' | 'sealed' | 'failed'
  sizeBytes: number | null
  /** Of the body (CRC-32 as in zip, APPNOTE 4.4.7), once sealed. */
  crc32: number | null
  failure: {
    code: EntryFailureCode
    message: string
    retryable: boolean
    attempts: number
    httpStatus: number | null
  } | null
}

export interface EntryPage {
  entries: EntryStatus[]
  /** Pass as `cursor` for the next page; null after the last entry. */
  nextCursor: number | null
}

export interface ServerInfo {
  version: string
  protocol: 1
  formats: ArchiveFormat[]
  limits: {
    maxEntries: number
    maxManifestBytes: number
    maxEntryBytes: number
    maxArchiveBytes: number
  }
  /** A build nobody watches or downloads is wound down after this. */
  abandonMs: number
  /** A complete archive can be downloaded this long. */
  retentionMs: number
  /** URLs of small images this server offers to try it with; may be empty. */
  samples: string[]
}

/** Every method may throw `Refusal`; anything else that is thrown is a bug and masked from clients. */
export interface ArchiveApi {
  /** Durable when it resolves. The same key and manifest again answers the same, and builds nothing twice. */
  submit(input: CreateArchiveInput, caller: Caller): Promise<AcceptedEvent>
  /** Backfill, then live; ends after a terminal event, or when `signal` aborts. */
  watch(input: WatchArchiveInput, caller: Caller, signal: AbortSignal): AsyncIterable<NumberedEvent>
  listEntries(input: ListEntriesInput, caller: Caller): Promise<EntryPage>
  /** Idempotent; true where this call ended the build. */
  cancel(input: CancelArchiveInput, caller: Caller): Promise<boolean>
  echo(text: string, caller: Caller): string
  info(): ServerInfo
}
