// One entry while it is fetched: receives its body and reports the outcome to its host.
import type { BodySink } from '../../fetch/body-sink.ts'
import type { EntryFetch, EntryRequest, FetchOutcome } from '../../fetch/fetcher.ts'
import type { Received } from '../../fetch/range-resume.ts'
import type { BegunFact } from '../../ports/journal.ts'
import type { PartWriter, SpoolWriter } from '../../ports/spool.ts'
import { type BodyCheckpoint, StagedBody, type StagedBodyOptions } from '../bytes/staged-body.ts'
import type { StagingMemory } from '../bytes/staging-memory.ts'

/** What all entries of an archive have in common. */
export interface EntryFetchHost {
  readonly spool: SpoolWriter
  readonly staging: StagingMemory
  /** Called when the spool failed. */
  failed(error: unknown): void
  /** Called when a large body has grown. After a crash it can be continued from this checkpoint. */
  grown(entry: FetchingEntry, checkpoint: BodyCheckpoint): void
  /** Called when the body is not valid any more. Another one may follow. */
  dropped(body: StagedBody): void
  ended(entry: FetchingEntry, outcome: FetchOutcome): void
}

/** The part of a body that an earlier process left. */
export interface Before {
  readonly part: PartWriter
  readonly fact: BegunFact
}

export interface FetchingEntry {
  readonly state: 'fetching'
  readonly index: number
  readonly url: URL
  body: StagedBody | null
  /** The body can be continued under this, as If-Range says it. Null if it cannot be continued. */
  validator: string | null
  announcedBytes: number | null
  /** Null until the lane has taken the request. */
  fetch: EntryFetch | null
}

/** Makes an entry, and the request that fills it. */
export function fetchEntry(
  host: EntryFetchHost,
  index: number,
  url: URL,
  before: Before | null,
): { entry: FetchingEntry; request: EntryRequest } {
  const entry: FetchingEntry = {
    state: 'fetching',
    index,
    url,
    body: null,
    validator: before?.fact.etag ?? null,
    announcedBytes: before?.fact.announcedBytes ?? null,
    fetch: null,
  }
  const options: StagedBodyOptions = {
    spool: host.spool,
    staging: host.staging,
    spoolFailed: host.failed,
    grown: (checkpoint) => host.grown(entry, checkpoint),
  }
  if (before !== null) entry.body = StagedBody.continued(before.part, before.fact, options)
  const sink: BodySink = {
    begin(sizeBytes, validator) {
      if (entry.body !== null) host.dropped(entry.body)
      entry.validator = validator
      entry.announcedBytes = sizeBytes
      entry.body = new StagedBody(sizeBytes, options)
    },
    write: (chunk, lease) => entry.body!.write(chunk, lease),
    whenReady: (resume) => entry.body!.whenReady(resume),
  }
  const received = before === null ? null : receivedOf(before.fact)
  return { entry, request: { index, url, sink, received, done: (outcome) => host.ended(entry, outcome) } }
}

const receivedOf = ({ receivedBytes, etag, announcedBytes }: BegunFact): Received => ({
  bytes: receivedBytes,
  validator: etag,
  sizeBytes: announcedBytes,
})
