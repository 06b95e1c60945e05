// What the router asks of a server. The archive service implements it; nothing here knows a transport.
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

/** Who calls. The principal is part of every archive id; the address is for limits and logs. */
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
  /** Name in the archive; null until the entry is sealed. */
  name: string | null
  state: 'pending' | 'fetching' | 'staged' | 'sealed' | 'failed'
  sizeBytes: number | null
  /** CRC-32 of the body as in zip (APPNOTE 4.4.7); null until the entry is sealed. */
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

/** There is one for each entry of the manifest, in its order. It has no URL, as the manifest has it. */
export interface PlannedEntry {
  index: number
  /** The name in the archive; null if the entry would not be in it. */
  name: string | null
  /** The size that the origin reports; null if the origin was not asked or reports none. */
  sizeBytes: number | null
  /** True if the origin was asked. If false, all of this is read from the manifest alone. */
  asked: boolean
  /** Why the entry would not be in the archive. */
  failure: Omit<NonNullable<EntryStatus['failure']>, 'attempts'> | null
}

/** What an archive would be, as far as that is known without fetching. It is a prediction: a GET may differ. */
export interface ArchivePlan {
  /** File name of the archive, extension included. */
  name: string
  format: ArchiveFormat
  entries: PlannedEntry[]
  /**
   * The exact size of the archive. It is known only for a zip that compresses nothing, holds no report and would have
   * at least one entry, if the sizes of all its entries are known; otherwise null.
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
  /** A build that nobody watches or downloads is ended after this. */
  abandonMs: number
  /** A complete archive can be downloaded for this long. */
  retentionMs: number
  /** URLs of small images that this server offers, to try it with; may be empty. */
  samples: string[]
}

/** Every method may throw `Refusal`. Anything else that is thrown is a bug, and is masked from clients. */
export interface ArchiveApi {
  /** The manifest is durable when this resolves. The same key and manifest again give the same answer and archive. */
  submit(input: CreateArchiveInput, caller: Caller): Promise<AcceptedEvent>
  /** Yields past events, then live ones. Ends after a terminal event, or when `signal` aborts. */
  watch(input: WatchArchiveInput, caller: Caller, signal: AbortSignal): AsyncIterable<NumberedEvent>
  listEntries(input: ListEntriesInput, caller: Caller): Promise<EntryPage>
  /** Idempotent. Resolves to true if this call ended the build. */
  cancel(input: CancelArchiveInput, caller: Caller): Promise<boolean>
  /** Creates and keeps nothing. `signal` aborts when nobody waits for the answer any more. */
  plan(input: PlanArchiveInput, caller: Caller, signal: AbortSignal): Promise<ArchivePlan>
  echo(text: string, caller: Caller): string
  info(): ServerInfo
}
