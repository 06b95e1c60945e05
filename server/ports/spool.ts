// The spool: bytes of archives under construction and of sealed ones. Knows files and offsets, no archive formats.
// Every method may throw an `UnavailableError`, and every one that writes a `NoSpaceError`. What was written stays
// intact.
import type { ArchiveId } from '#contracts/archive.ts'

/** The name of the log if a fact does not name one: older facts do not, because all logs had this name. */
export const LOG = 'log'

/** Writes one part, from its beginning to its end. A part has one writer. */
export interface PartWriter {
  readonly file: string
  /** Writes in order. Resolves when the bytes outlive the process. One call at a time. */
  write(buffers: readonly Uint8Array[]): Promise<void>
  /** Closes the part and keeps it. Idempotent. */
  close(): Promise<void>
  /** Closes the part and removes it. Idempotent. */
  discard(): Promise<void>
}

/** The files of one archive, open for writing. */
export interface SpoolWriter extends AsyncDisposable {
  /** The file that this writer appends to; facts name it. */
  readonly log: string
  /** The end of the log. */
  readonly logBytes: number
  /**
   * Removes everything of the archive that is not kept. Must be called before anything is written. While the writer is
   * open, the caller must first make sure that no other builder has continued the archive.
   */
  discardRest(): Promise<void>
  /** Appends to the log; resolves when the bytes outlive the process. One call at a time. */
  appendLog(buffers: readonly Uint8Array[]): Promise<void>
  createPart(): Promise<PartWriter>
  /** Opens a kept part to continue after its first `keepBytes` bytes. What follows them is cut off. */
  reopenPart(file: string, keepBytes: number): Promise<PartWriter>
  discardPart(file: string): Promise<void>
  /** Resolves once everything written outlives a power failure. */
  sync(): Promise<void>
}

/** The files of one archive, open for reading. An archive may have several readers at a time. */
export interface SpoolReader extends AsyncDisposable {
  /** Reads into `target`. Returns the number of bytes, which is 0 at the end of the file. */
  read(file: string, offset: number, target: Uint8Array): Promise<number>
  /**
   * Reads bytes that were written moments ago at once, without a turn of the loop. Null if the spool does not have them
   * at hand, or if a `read` is under way.
   */
  readRecent?(file: string, offset: number, target: Uint8Array): number | null
}

/** What the facts vouch for: files, and how many bytes from the beginning of each. */
export type Keep = ReadonlyMap<string, number>

export interface Spool extends AsyncDisposable {
  /**
   * Opens the archive to continue after the kept bytes of each file. Opening it removes and changes nothing, so a
   * builder that comes late does no harm. Two open writers never write to the same file. A second writer either has
   * files of its own, or is refused with an `UnavailableError` until the first one is closed.
   */
  writer(archiveId: ArchiveId, keep: Keep): Promise<SpoolWriter>
  /** Files are opened when they are first read. */
  reader(archiveId: ArchiveId): SpoolReader
  /** Removes everything of the archive. Idempotent. Readers may continue with the files that they have open. */
  remove(archiveId: ArchiveId): Promise<void>
  list(): Promise<ArchiveId[]>
}

export interface Room {
  /** What all archives take together. */
  readonly usedBytes: number
  /** What may still be written; 0 if the spool takes no more. The number may be about a second old. */
  readonly freeBytes: number
}

/** An optional ability of a spool: it reports what archives take and what room is left, before anything is written. */
export interface SpoolRoom {
  room(): Promise<Room>
  /** What this archive takes. */
  bytesOf(archiveId: ArchiveId): number
}
