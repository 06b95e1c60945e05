// One entry while it is fetched: receives its body and reports the outcome to its host. Each entry under way has one object.
import type { BodySink } from '../../fetch/body-sink.ts'
import type { EntryFetch, EntryRequest, FetchOutcome } from '../../fetch/fetcher.ts'
import type { Received } from '../../fetch/range-resume.ts'
import type { Lease } from '../../lib/blocks.ts'
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

export class FetchingEntry implements BodySink, EntryRequest, StagedBodyOptions {
  readonly state = 'fetching'
  readonly index: number
  readonly url: URL
  readonly received: Received | null
  body: StagedBody | null
  /** The body can be continued under this, as If-Range says it. Null if it cannot be continued. */
  validator: string | null
  announcedBytes: number | null
  /** Null until the lane has taken the request. */
  fetch: EntryFetch | null = null
  readonly #host: EntryFetchHost

  constructor(host: EntryFetchHost, index: number, url: URL, before: Before | null) {
    this.#host = host
    this.index = index
    this.url = url
    this.validator = before?.fact.etag ?? null
    this.announcedBytes = before?.fact.announcedBytes ?? null
    this.received = before === null ? null : receivedOf(before.fact)
    this.body = before === null ? null : StagedBody.continued(before.part, before.fact, this)
  }

  get sink(): BodySink {
    return this
  }

  get spool(): SpoolWriter {
    return this.#host.spool
  }

  get staging(): StagingMemory {
    return this.#host.staging
  }

  spoolFailed(error: unknown): void {
    this.#host.failed(error)
  }

  grown(checkpoint: BodyCheckpoint): void {
    this.#host.grown(this, checkpoint)
  }

  begin(sizeBytes: number | null, validator: string | null): void {
    if (this.body !== null) this.#host.dropped(this.body)
    this.validator = validator
    this.announcedBytes = sizeBytes
    this.body = new StagedBody(sizeBytes, this)
  }

  write(chunk: Buffer, lease: Lease | null): boolean {
    return this.body!.write(chunk, lease)
  }

  whenReady(resume: () => void): void {
    this.body!.whenReady(resume)
  }

  done(outcome: FetchOutcome): void {
    this.#host.ended(this, outcome)
  }
}

const receivedOf = ({ receivedBytes, etag, announcedBytes }: BegunFact): Received => ({
  bytes: receivedBytes,
  validator: etag,
  sizeBytes: announcedBytes,
})
