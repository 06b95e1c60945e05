// The journal: durable facts about archives, in order. Everything else that sheaf knows is derived from it.
import type { ArchiveFormat, ArchiveId, Compression, CreateArchiveInput, EntryInput } from '#contracts/archive.ts'
import type { AbortCode, EntryFailureCode } from '#contracts/failures.ts'

/** A range of a spool file. All extents in archive order make up the archive. */
export interface Extent {
  readonly file: string
  readonly offset: number
  readonly length: number
}

/** The size of some bytes, and their CRC-32. */
export interface Measured {
  readonly sizeBytes: number
  readonly crc32: number
}

/** A body that was received whole, and where it lies. `sizeBytes` and `crc32` are those of the fetched file. */
export interface WholeBody extends Measured {
  readonly index: number
  readonly file: string
  readonly offset: number
  /** Measures the stored bytes if the body is stored deflated (RFC 1951); null if it is stored as it is. */
  readonly deflated: Measured | null
  /** Last-Modified of the source, in ms since 1970; null if the source did not report it. */
  readonly modifiedMs: number | null
  /** The name before it is cleaned and made unique. */
  readonly proposedName: string
}

export type Fact =
  /** The part has the first `receivedBytes` of a large body. After a crash the fetch continues there, under `etag`. */
  | {
      readonly type: 'entry-begun'
      readonly index: number
      readonly file: string
      /** Counted from the beginning of the part. */
      readonly receivedBytes: number
      /** The CRC-32 of the received bytes. */
      readonly crc32: number
      /** A strong validator. */
      readonly etag: string
      /** The announced size of the whole body; null if none was announced. */
      readonly announcedBytes: number | null
    }
  /** The body is whole, but waits because an earlier entry is not settled yet. */
  | ({ readonly type: 'entry-staged' } & WholeBody)
  /** The entry is in the archive under its final name. */
  | ({
      readonly type: 'entry-sealed'
      readonly name: string
      /** The offset in the log at which its header ends; null in formats without a header. */
      readonly headerEnd: number | null
      /** The log that holds the header. @default "log" */
      readonly headerFile?: string
    } & WholeBody)
  | {
      readonly type: 'entry-failed'
      readonly index: number
      readonly code: EntryFailureCode
      readonly attempts: number
      readonly httpStatus: number | null
    }
  /** Sealed bytes were lost. All earlier facts about sealed or staged entries are void, and the ETag changes. */
  | { readonly type: 'rewound'; readonly generation: number }
  | {
      readonly type: 'archive-sealed'
      readonly sizeBytes: number
      readonly extents: readonly Extent[]
      readonly sealedEntries: number
      readonly failedEntries: number
      readonly durationMs: number
      /** Hexadecimal; null unless it was asked for. */
      readonly sha256: string | null
      readonly sealedAtMs: number
      readonly expiresAtMs: number
    }
  | { readonly type: 'aborted'; readonly code: AbortCode; readonly expiresAtMs: number }

export type AbortedFact = Extract<Fact, { type: 'aborted' }>
export type TerminalFact = Extract<Fact, { type: 'archive-sealed' | 'aborted' }>
export type EntryFact = Extract<Fact, { index: number }>
export type Stored<F extends Fact> = F & { readonly seq: number }
export type BegunFact = Extract<Fact, { type: 'entry-begun' }>
export type SealedFact = Stored<Extract<Fact, { type: 'entry-sealed' }>>

/** What the client asked for. It never changes. */
export interface ArchiveRequest {
  readonly archiveId: ArchiveId
  /** The hash of everything that makes two submissions the same. */
  readonly manifestHash: string
  /** The file name, including its extension. */
  readonly name: string
  readonly format: ArchiveFormat
  readonly compression: Compression
  readonly report: boolean
  readonly checksum: 'sha-256' | null
  readonly onEntryFailure: NonNullable<CreateArchiveInput['onEntryFailure']>
  readonly whenUnwatched: NonNullable<CreateArchiveInput['whenUnwatched']>
  /** At each origin, at most so many requests at a time. @default as the server has it */
  readonly maxPerOrigin?: number
  readonly totalEntries: number
  readonly acceptedAtMs: number
  /**
   * 64 random bits in base64url, made at acceptance. They distinguish this archive from another one with the same id.
   * Empty for archives of earlier versions.
   */
  readonly nonce: string
}

export interface ArchiveRecord extends ArchiveRequest {
  /** The seq of the last fact. Acceptance has seq 1. */
  readonly lastSeq: number
  readonly generation: number
  readonly terminal: Stored<TerminalFact> | null
  /** True if only a tombstone is left: facts, manifest and bytes are gone. */
  readonly swept: boolean
  /** The client that the limits count it for; '' if unknown, and always '' once it is swept. */
  readonly client: string
  /** The size of manifest and facts together. */
  readonly journalBytes: number
}

/** What one archive takes of the journal, and for which client. */
export interface Holding {
  readonly archiveId: ArchiveId
  readonly client: string
  readonly journalBytes: number
  readonly state: 'unfinished' | 'sealed' | 'aborted'
}

/** The bytes that a client has used in a day. `day` counts days of 24 hours since 1970 (UTC). */
export interface Usage {
  readonly client: string
  readonly day: number
  readonly bytes: number
}

/** Another builder has appended in the meantime. The caller's view is stale, and it must stop. */
export class StaleSeqError extends Error {
  override readonly name = 'StaleSeqError'
}

/**
 * Every method may throw an `UnavailableError`, and every one that writes a `NoSpaceError`. After an `UnavailableError`
 * the same call may be repeated, even if the first outcome is unknown: it takes effect once.
 *
 * Acceptance, ends and rewinds outlive a power failure before any method reports them. Other facts outlive the process
 * at once, but a power failure only after some moments. If a journal may have lost facts, it raises the generation of
 * the archives concerned when it is opened.
 */
export interface Journal extends AsyncDisposable {
  /** When it was last found damaged, in ms since 1970; null if never. Archives may be unknown because of that. */
  readonly damagedAtMs: number | null
  /** The latest time that the journal records; null if it records none. */
  newestMs(): Promise<number | null>
  /** Makes the request durable under seq 1, unless the id is known. Returns the record as it is now. */
  accept(
    request: ArchiveRequest,
    manifest: readonly EntryInput[],
    client: string,
  ): Promise<{ record: ArchiveRecord; created: boolean }>
  get(archiveId: ArchiveId): Promise<ArchiveRecord | null>
  manifest(archiveId: ArchiveId): Promise<EntryInput[]>
  /**
   * Resolves once the facts outlive the process. Either all or none of them are taken, with the seqs after `lastSeq`.
   * @throws StaleSeqError if `lastSeq` is not the last one
   */
  append(archiveId: ArchiveId, lastSeq: number, facts: readonly Fact[]): Promise<void>
  /** Ends the archive at any seq, so its builder's next append is stale. False if it has ended or is not known. */
  end(archiveId: ArchiveId, fact: AbortedFact): Promise<boolean>
  /** Facts after `afterSeq` in order, at most `limit`. They may be of types that this version does not know. */
  facts(archiveId: ArchiveId, afterSeq: number, limit: number): Promise<Stored<Fact>[]>
  failures(
    archiveId: ArchiveId,
    afterSeq: number,
    limit: number,
  ): Promise<Stored<Extract<Fact, { type: 'entry-failed' }>>[]>
  /** Facts about the entries with `from` <= index < `to`, in the order of their seqs. */
  entryFacts(archiveId: ArchiveId, from: number, to: number): Promise<Stored<EntryFact>[]>
  /** Archives without a terminal fact, oldest first. */
  unfinished(): Promise<ArchiveRecord[]>
  /** What each archive takes that is not swept. */
  holdings(): Promise<Holding[]>
  /** The ended archives that expire at or before `wallMs`. */
  expired(wallMs: number): Promise<ArchiveId[]>
  /** The ids of all archives that are not swept. */
  kept(): Promise<ArchiveId[]>
  /** Removes everything of the archive but a tombstone with id and hash. */
  bury(archiveId: ArchiveId, wallMs: number): Promise<void>
  /** Drops tombstones made before `wallMs`, and the usage of all days before that day. */
  forget(wallMs: number): Promise<void>
  /** Adds to the client's usage of that day. */
  addUsage(client: string, day: number, bytes: number): Promise<void>
  /** The usage of that day and of later days. */
  usageSince(day: number): Promise<Usage[]>
  /** Gives unused space back to the file system, for a few milliseconds. True if there is more to give back. */
  reclaim(): Promise<boolean>
}
