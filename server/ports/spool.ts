// The spool: bytes of archives under construction and of sealed ones. Knows files and offsets, no archive formats.
// Everything may throw an `UnavailableError`, whatever writes a `NoSpaceError`; what was written before is not harmed by it.
import type { ArchiveId } from '#contracts/archive.ts'

/** What a file that is appended to is called where a fact does not say: there was one name for all. */
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
  /** The file that this writer appends to; facts name it. */
  readonly log: string
  /** End of the log. */
  readonly logBytes: number
  /**
   * Removes what of the archive is not kept. Before it nothing is to be written. Only for who has made sure, with the writer
   * open, that nobody else has gone on with the archive meanwhile.
   */
  discardRest(): Promise<void>
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

/** What facts vouch for: files, and how many bytes of each from its beginning. */
export type Keep = ReadonlyMap<string, number>

export interface Spool extends AsyncDisposable {
  /**
   * Opens the archive to go on after what is kept: so many bytes of each file. That alone removes and changes nothing, so
   * that whoever comes late harms nobody. No two open writers write to the same file: a second one has files of its own, or
   * is refused as an `UnavailableError` until the first one is closed.
   */
  writer(archiveId: ArchiveId, keep: Keep): Promise<SpoolWriter>
  /** Files are opened when they are first read. */
  reader(archiveId: ArchiveId): SpoolReader
  /** Removes everything of the archive. Idempotent; open readers may go on with the files they have open. */
  remove(archiveId: ArchiveId): Promise<void>
  list(): Promise<ArchiveId[]>
}

export interface Room {
  /** What all archives hold together. */
  readonly usedBytes: number
  /** What may still be written; 0 if nothing more is taken. About a second old at most. */
  readonly freeBytes: number
}

/** An optional ability of a spool: to say what archives take, and how much more it takes, before anything is written. */
export interface SpoolRoom {
  room(): Promise<Room>
  /** What this archive holds. */
  bytesOf(archiveId: ArchiveId): number
}
