// What the router asks of a server. Implemented by the archive service; nothing here knows a transport.
import type {
  ArchiveFormat,
  CancelArchiveInput,
  CreateArchiveInput,
  ListEntriesInput,
  PlanArchiveInput,
  WatchArchiveInput,
} from './archive.ts'
import type { AcceptedEvent, ArchiveEvent } from './events.ts'
import type { EntryFailureCode } from './failures.ts'

/** Who calls: the principal is part of every archive id; the address is for limits and logs. */
export interface Caller {
  readonly principal: string
  readonly address: string
}

/** An event and its cursor: a decimal number that grows with the facts it reflects. */
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

/** One per entry of the manifest, in its order; the URL stands there. */
export interface PlannedEntry {
  index: number
  /** Name it would have in the archive; null if it would not be in it. */
  name: string | null
  /** As its origin says; null if that was not asked, or does not say. */
  sizeBytes: number | null
  /** Its origin was asked. False: what is told here is read from the manifest alone. */
  asked: boolean
  /** Why it would not be in the archive. */
  failure: Omit<NonNullable<EntryStatus['failure']>, 'attempts'> | null
}

/** What an archive would be, as far as can be told without fetching anything. A prediction: origins may answer otherwise. */
export interface ArchivePlan {
  /** File name of the archive, extension included. */
  name: string
  format: ArchiveFormat
  entries: PlannedEntry[]
  /**
   * Of the archive, to the byte. Null unless it is a zip that compresses nothing and holds no report, of which some entry
   * would be in it and all sizes are known.
   */
  predictedBytes: number | null
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
  /** Idempotent; true if this call ended the build. */
  cancel(input: CancelArchiveInput, caller: Caller): Promise<boolean>
  /** Makes and keeps nothing. `signal` aborts when nobody waits for the answer any more. */
  plan(input: PlanArchiveInput, caller: Caller, signal: AbortSignal): Promise<ArchivePlan>
  echo(text: string, caller: Caller): string
  info(): ServerInfo
}
