// The spool: bytes of archives under construction and of sealed ones. Knows files and offsets, no archive formats.
// Whatever writes may throw a `NoSpaceError`.
import type { ArchiveId } from '#contracts/archive.ts'

/** The name of the one file of an archive that is appended to. */
export const LOG = 'log'

/** Written from its beginning to its end, by one writer. */
export interface PartWriter {
  readonly file: string
  /** In order; resolves when the bytes outlive the process. One call at a time. */
  write(buffers: readonly Uint8Array[]): Promise<void>
  /** Closes it and keeps it. Idempotent. */
  close(): Promise<void>
  /** Closes and removes it. Idempotent. */
  discard(): Promise<void>
}

/** One archive's files, open for writing. */
export interface SpoolWriter extends AsyncDisposable {
  /** End of the log. */
  readonly logBytes: number
  /** Appends to the log; resolves when the bytes outlive the process. One call at a time. */
  appendLog(buffers: readonly Uint8Array[]): Promise<void>
  createPart(): Promise<PartWriter>
  /** Opens a kept part to go on after its first `keepBytes` bytes; what follows them is cut off. */
  reopenPart(file: string, keepBytes: number): Promise<PartWriter>
  discardPart(file: string): Promise<void>
  /** Resolves once everything written outlives a power failure. */
  sync(): Promise<void>
}

/** One archive's files, open for reading; several at a time are fine. */
export interface SpoolReader extends AsyncDisposable {
  /** Reads into `target`; answers how many bytes, 0 at the end of the file. */
  read(file: string, offset: number, target: Uint8Array): Promise<number>
  /**
   * The same for what was written moments ago, where the spool has that at hand: at once, without a turn of the loop. Null
   * where it has not, or `read` is still under way.
   */
  readRecent?(file: string, offset: number, target: Uint8Array): number | null
}

export interface Spool extends AsyncDisposable {
  /** Opens the archive for writing. Only `keepLogBytes` of its log and the named parts are kept. */
  writer(archiveId: ArchiveId, keep: { logBytes: number; parts: ReadonlySet<string> }): Promise<SpoolWriter>
  /** Files are opened when they are first read. */
  reader(archiveId: ArchiveId): SpoolReader
  /** Removes everything of the archive. Idempotent; open readers may go on with the files they have open. */
  remove(archiveId: ArchiveId): Promise<void>
  list(): Promise<ArchiveId[]>
}

export interface Room {
  /** What all archives hold together. */
  readonly usedBytes: number
  /** What may still be written; 0 where nothing more is taken. About a second old at most. */
  readonly freeBytes: number
}

/** An optional ability of a spool: to say what archives take, and how much more it takes, before anything is written. */
export interface SpoolRoom {
  room(): Promise<Room>
  /** What this archive holds. */
  bytesOf(archiveId: ArchiveId): number
}
