// Reads an archive up to its frontier, waits there, and reports whether the end is the end of a whole archive. Writes nothing.
import { createWake } from '../../lib/wake.ts'
import type { ArchiveRecord } from '../../ports/journal.ts'
import type { Spool } from '../../ports/spool.ts'
import type { Build } from '../build/build.ts'
import { createLayout, readLayout } from '../bytes/layout.ts'
import type { RecentBytes } from '../bytes/recent-write.ts'
import { etagOf } from './tail.ts'

export interface ArchiveReading extends AsyncDisposable {
  readonly archiveId: string
  readonly fileName: string
  readonly format: ArchiveRecord['format']
  readonly etag: string
  /** In hexadecimal. Null if it was not asked for, or if the archive still grows. */
  readonly sha256: string | null
  /** Size of the whole archive, or null while it grows. */
  readonly sizeBytes: number | null
  readonly readableBytes: number
  /** Fills `target` with the bytes from `position` on, up to the frontier. Resolves to the number of bytes. */
  read(position: number, target: Uint8Array): Promise<number>
  /** Takes the bytes from `position` on if they were written just now. Null if the caller has to read them. */
  takeRecent(position: number): RecentBytes | null
  /** Waits at the frontier. 'failed' means that the bytes read so far will never become a whole archive. */
  wait(position: number, signal: AbortSignal): Promise<'readable' | 'end' | 'failed'>
}

/** Bytes this close to the frontier of a build are most likely still in the page cache. */
const RECENT_BYTES = 32 * 1024 * 1024

export interface OpenReadingOptions {
  record: ArchiveRecord
  build: Build | null
  spool: Spool
  /** Called once the reading is over. */
  closed: () => void
}

export function openReading({ record, build, spool, closed }: OpenReadingOptions): ArchiveReading | null {
  const sealed = record.terminal?.type === 'archive-sealed' ? record.terminal : null
  if (sealed === null && build === null) return null
  const layout = sealed === null ? build!.layout : createLayout(sealed.extents)
  const generation = sealed === null ? build!.generation : record.generation
  const frontier = build?.frontier ?? createWake()
  const reader = spool.reader(record.archiveId)

  /** Whether the bytes are still those with which this reading began. */
  const valid = () => sealed !== null || build!.generation === generation
  const whole = () => sealed !== null || build!.outcome === 'sealed'

  return {
    fileName: record.name,
    format: record.format,
    archiveId: record.archiveId,
    etag: etagOf({ ...record, generation }),
    sha256: sealed?.sha256 ?? null,
    get sizeBytes() {
      return whole() ? layout.readableBytes : null
    },
    get readableBytes() {
      return layout.readableBytes
    },
    async read(position, target) {
      const isRecent = build !== null && layout.readableBytes - position <= RECENT_BYTES
      const read = (...at: Parameters<typeof reader.read>) =>
        (isRecent ? reader.readRecent?.(...at) : null) ?? reader.read(...at)
      const bytes = await readLayout(layout, read, position, target)
      // This is checked after the read, because the bytes may have been replaced during it.
      if (!valid()) throw new Error('the archive was started again')
      return bytes
    },
    takeRecent(position) {
      const write = build?.recentWrites.current ?? null
      if (write === null || !valid()) return null
      // Bytes that follow each other in the log need not do so in the archive: the body of a part may lie between them.
      const slice = layout.locate(position)
      return slice?.file === build!.log ? write.take(slice.offset, slice.length) : null
    },
    async wait(position, signal) {
      while (!signal.aborted) {
        const seen = frontier.version
        if (!valid()) return 'failed'
        if (layout.readableBytes > position) return 'readable'
        if (whole()) return 'end'
        if (build!.outcome !== null) return 'failed'
        await frontier.passed(seen, signal)
      }
      return 'failed'
    },
    async [Symbol.asyncDispose]() {
      closed()
      await reader[Symbol.asyncDispose]()
    },
  }
}
