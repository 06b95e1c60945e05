// The journal: facts about archives, in order, durable. Everything else sheaf knows is a reading of it.
import type { ArchiveFormat, ArchiveId, Compression, CreateArchiveInput, EntryInput } from '#contracts/archive.ts'
import type { AbortCode, EntryFailureCode } from '#contracts/failures.ts'

/** A range of a spool file that lies at `offset` there; in archive order these make the archive. */
export interface Extent {
  readonly file: string
  readonly offset: number
  readonly length: number
}

/** So many bytes, and their CRC-32. */
export interface Measured {
  readonly sizeBytes: number
  readonly crc32: number
}

/** A body that was received whole, and where it lies. `sizeBytes` and `crc32` are of the file itself. */
export interface WholeBody extends Measured {
  readonly index: number
  readonly file: string
  readonly offset: number
  /** What lies there, where that is the body deflated (RFC 1951); null if it is the body as it is. */
  readonly deflated: Measured | null
  /** Last-Modified of the source, ms since 1970; null if it did not say. */
  readonly modifiedMs: number | null
  /** Before cleaning and before it is made unique. */
  readonly proposedName: string
}

export type Fact =
  /** So much of a large body is in its part: after a crash it goes on from there, under this strong validator. */
  | {
      readonly type: 'entry-begun'
      readonly index: number
      readonly file: string
      /** Of the part, from its beginning, and their CRC-32. */
      readonly receivedBytes: number
      readonly crc32: number
      readonly etag: string
      /** What the whole body is announced to be. */
      readonly announcedBytes: number | null
    }
  /** Whole, but an earlier entry is not settled yet. */
  | ({ readonly type: 'entry-staged' } & WholeBody)
  /** In the archive under its final name. `headerEnd`: where its header ends in the log; null in formats without one. */
  | ({
      readonly type: 'entry-sealed'
      readonly name: string
      readonly headerEnd: number | null
      /** Which log the header is in. @default "log" */
      readonly headerFile?: string
    } & WholeBody)
  | {
      readonly type: 'entry-failed'
      readonly index: number
      readonly code: EntryFailureCode
      readonly attempts: number
      readonly httpStatus: number | null
    }
  /** Sealed bytes were lost: what was sealed or staged before is void, and the ETag changes. */
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

/** What was asked; does not change. */
export interface ArchiveRequest {
  readonly archiveId: ArchiveId
  /** Of everything that makes two submissions the same. */
  readonly manifestHash: string
  /** File name, extension included. */
  readonly name: string
  readonly format: ArchiveFormat
  readonly compression: Compression
  readonly report: boolean
  readonly checksum: 'sha-256' | null
  readonly onEntryFailure: NonNullable<CreateArchiveInput['onEntryFailure']>
  readonly whenUnwatched: NonNullable<CreateArchiveInput['whenUnwatched']>
  readonly totalEntries: number
  readonly acceptedAtMs: number
  /** 64 random bits in base64url, made at acceptance: it tells this archive from another one of the same id. Or ''. */
  readonly nonce: string
}

export interface ArchiveRecord extends ArchiveRequest {
  /** Of the last fact; acceptance itself is 1. */
  readonly lastSeq: number
  readonly generation: number
  readonly terminal: Stored<TerminalFact> | null
  /** Only a tombstone is left: facts, manifest and bytes are gone. */
  readonly swept: boolean
  /** Who asked for it, as limits count. Or '', and always so once it is swept. */
  readonly client: string
  /** Of manifest and facts. */
  readonly journalBytes: number
}

/** What an archive takes of the journal, and for whom. */
export interface Holding {
  readonly archiveId: ArchiveId
  readonly client: string
  readonly journalBytes: number
  readonly state: 'unfinished' | 'sealed' | 'aborted'
}

/** `day` counts days of 24 hours since 1970, UTC. */
export interface Usage {
  readonly client: string
  readonly day: number
  readonly bytes: number
}

/** Another builder has appended meanwhile: the caller's view is stale, and it must stop. */
export class StaleSeqError extends Error {
  override readonly name = 'StaleSeqError'
}

/**
 * Every method may throw an `UnavailableError`, every one that writes a `NoSpaceError`. After an `UnavailableError` the same
 * call may be made again, also if its first outcome is not known: it takes effect once.
 *
 * Acceptance, ends and rewinds outlive a power failure before any method tells of them. Other facts outlive the process, and
 * a power failure within moments: a journal that may have lost some raises the generation of the archives concerned when it
 * is opened.
 */
export interface Journal extends AsyncDisposable {
  /** When it was last found damaged, ms since 1970: archives that it does not know may have been lost by that. Null: never. */
  readonly damagedAtMs: number | null
  /** The latest time that it tells of; null if it tells of none. */
  newestMs(): Promise<number | null>
  /** Makes the request durable under seq 1, unless the id is known; answers what stands there now. */
  accept(
    request: ArchiveRequest,
    manifest: readonly EntryInput[],
    client: string,
  ): Promise<{ record: ArchiveRecord; created: boolean }>
  get(archiveId: ArchiveId): Promise<ArchiveRecord | null>
  manifest(archiveId: ArchiveId): Promise<EntryInput[]>
  /**
   * Resolves once the facts outlive the process, all or none of them. They take the seqs after `lastSeq`.
   * @throws StaleSeqError if `lastSeq` is not the last one
   */
  append(archiveId: ArchiveId, lastSeq: number, facts: readonly Fact[]): Promise<void>
  /** Ends the archive whatever its seq: its builder's next append is stale. False if it has ended, or is not known. */
  end(archiveId: ArchiveId, fact: AbortedFact): Promise<boolean>
  /** Facts after `afterSeq` in order, at most `limit`; also those of types that this version does not know. */
  facts(archiveId: ArchiveId, afterSeq: number, limit: number): Promise<Stored<Fact>[]>
  failures(
    archiveId: ArchiveId,
    afterSeq: number,
    limit: number,
  ): Promise<Stored<Extract<Fact, { type: 'entry-failed' }>>[]>
  /** The facts about entries `from` <= index < `to`, in order of seq. */
  entryFacts(archiveId: ArchiveId, from: number, to: number): Promise<Stored<EntryFact>[]>
  /** Archives without a terminal fact, oldest first. */
  unfinished(): Promise<ArchiveRecord[]>
  /** What each archive takes that is not swept. */
  holdings(): Promise<Holding[]>
  /** Ended archives that expire at or before `wallMs`. */
  expired(wallMs: number): Promise<ArchiveId[]>
  /** Ids of all archives that are not swept. */
  kept(): Promise<ArchiveId[]>
  /** Leaves a tombstone that holds nothing but id and hash. */
  bury(archiveId: ArchiveId, wallMs: number): Promise<void>
  /** Drops tombstones made before `wallMs`, and usage of the days before that one. */
  forget(wallMs: number): Promise<void>
  /** Adds to what the client has used that day. */
  addUsage(client: string, day: number, bytes: number): Promise<void>
  /** Of that day and those after it. */
  usageSince(day: number): Promise<Usage[]>
  /** Gives some of the space back that nothing needs any more, in a few milliseconds; true if there is more. */
  reclaim(): Promise<boolean>
}
