// Generates the events of an archive, first from the journal and then live. It loses and repeats none. Writes nothing.
import type { NumberedEvent } from '#contracts/api.ts'
import { type EntryInput, nameOf, urlOf } from '#contracts/archive.ts'
import type { AcceptedEvent, ArchiveEvent, FileFailedEvent, Progress, TerminalEvent } from '#contracts/events.ts'
import { abortReasons, entryFailures, isRetryable, Refusal } from '#contracts/failures.ts'
import { archiveAddress, archiveHref } from '#contracts/wire.ts'
import { assertNever, present } from '../../lib/assert.ts'
import { cutEnd } from '../../lib/text.ts'
import type { ArchiveRecord, Fact, Journal, Stored, TerminalFact } from '../../ports/journal.ts'
import type { Build } from '../build/build.ts'
import type { Snapshot } from '../build/build-deps.ts'

const FAILURES_PAGE = 500
/** A longer URL or name is cut in reports, so that a list of failures is not larger than the list that was sent. */
export const MAX_REPORTED_LENGTH = 2048

export interface TailOptions {
  journal: Journal
  /** The build of the archive, or null if it is not being built. */
  buildOf(archiveId: string): Build | null
  archiveId: string
  /** Cursor of the last event that the client has. Null asks for all events. */
  after: number | null
  signal: AbortSignal
}

export async function* tail({
  journal,
  buildOf,
  archiveId,
  after,
  signal,
}: TailOptions): AsyncGenerator<NumberedEvent> {
  let cursor = 0
  let isFirst = true
  let reported: Snapshot | null = null
  /** The journal was read up to this fact. */
  let readSeq = 0
  while (!signal.aborted) {
    // The snapshot is taken first. What is journalled after it is reported in the next round.
    const current = buildOf(archiveId)
    const build = current?.outcome === null ? current : null
    const seen = build?.report.news.version ?? 0
    const snapshot = build?.report.snapshot(build.lastSeq) ?? null
    // The journal is asked only if it can have new facts, because a build may have a thousand watchers.
    if (snapshot === null || snapshot.seq > readSeq) {
      const record = present(await journal.get(archiveId), 'the archive watched')
      if (isFirst) cursor = seqOf(after, record)
      isFirst = false
      if (cursor === 0) {
        yield { id: idOf(1, record), event: acceptedEvent(record) }
        cursor = 1
      }
      for (;;) {
        const failures = await journal.failures(archiveId, cursor, FAILURES_PAGE)
        // While the client reads, only the inputs of this page are held, and not the whole manifest.
        const inputs = failures.length > 0 ? await inputsOf(journal, archiveId, failures) : []
        for (const [at, failure] of failures.entries()) {
          if (signal.aborted) return
          cursor = failure.seq
          yield { id: idOf(cursor, record), event: failedEvent(failure, present(inputs[at], 'the entry')) }
        }
        if (failures.length < FAILURES_PAGE) break
      }
      if (record.terminal !== null) {
        yield { id: idOf(record.terminal.seq, record), event: terminalEvent(record, record.terminal) }
        return
      }
      if (build === null || snapshot === null) throw new Refusal('SHUTTING_DOWN')
      readSeq = snapshot.seq
    }
    if (snapshot.text !== reported?.text) {
      reported = snapshot
      cursor = Math.max(cursor, snapshot.seq)
      yield { id: idOf(cursor, build!), event: progressEvent(snapshot.progress) }
    }
    await build!.report.news.passed(seen, signal)
  }
}

async function inputsOf(journal: Journal, archiveId: string, failures: readonly FailedFact[]) {
  const manifest = await journal.manifest(archiveId)
  return failures.map(({ index }) => manifest[index])
}

/** This is more than the number of facts that an archive can have. */
const GENERATION_STEP = 1_000_000_000

/**
 * The cursor of an event combines the generation and the seq of the last fact that it reflects. After a power failure other
 * facts may have the same seqs, but they belong to another generation.
 */
function idOf(seq: number, { generation }: Pick<ArchiveRecord, 'generation'>): string {
  return String((generation - 1) * GENERATION_STEP + seq)
}

/** Returns 0 for a cursor that the archive does not have, or not any more. Then all events are sent again. */
function seqOf(after: number | null, { generation, lastSeq }: ArchiveRecord): number {
  const seq = (after ?? 0) - (generation - 1) * GENERATION_STEP
  return seq < 0 || seq > lastSeq ? 0 : seq
}

export function acceptedEvent(record: ArchiveRecord): AcceptedEvent {
  const { archiveId, name, format, totalEntries, acceptedAtMs } = record
  const href = archiveHref(record, name)
  const acceptedAt = new Date(acceptedAtMs).toISOString()
  return { type: 'accepted', archiveId, protocol: 1, name, format, totalEntries, href, acceptedAt }
}

const progressEvent = (progress: Progress): ArchiveEvent => ({ type: 'progress', ...progress })

type FailedFact = Stored<Extract<Fact, { type: 'entry-failed' }>>

export function failedEvent({ index, code, attempts, httpStatus }: FailedFact, input: EntryInput): FileFailedEvent {
  const { publicMessage: message } = entryFailures[code]
  const retryable = isRetryable(code, httpStatus)
  const url = cutEnd(urlOf(input), MAX_REPORTED_LENGTH)
  const asked = nameOf(input)
  const name = asked === null ? null : cutEnd(asked, MAX_REPORTED_LENGTH)
  return { type: 'file-failed', index, url, name, code, message, retryable, attempts, httpStatus }
}

/** Never names other bytes: a new archive of the same id has another nonce, and one that lost bytes has another generation. */
export function etagOf(record: Pick<ArchiveRecord, 'archiveId' | 'nonce' | 'generation'>): string {
  return `"${archiveAddress(record)}.${record.generation}"`
}

function terminalEvent(record: ArchiveRecord, fact: TerminalFact): TerminalEvent {
  switch (fact.type) {
    case 'archive-sealed': {
      const { sizeBytes, sha256, sealedEntries, failedEntries, durationMs, expiresAtMs } = fact
      const href = archiveHref(record, record.name)
      const expiresAt = new Date(expiresAtMs).toISOString()
      const etag = etagOf(record)
      return { type: 'complete', href, sizeBytes, etag, sha256, sealedEntries, failedEntries, durationMs, expiresAt }
    }
    case 'aborted': {
      const { publicMessage: message, retryable } = abortReasons[fact.code]
      return { type: 'aborted', code: fact.code, message, retryable }
    }
    default:
      return assertNever(fact)
  }
}
