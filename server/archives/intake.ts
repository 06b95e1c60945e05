// Brings an archive's entries in: starts fetches in manifest order and moves each entry from pending to whole or failed.

import type { EntryInput } from '#contracts/archive.ts'
import type { ActiveEntry } from '#contracts/events.ts'
import type { Fetcher, FetchOutcome } from '../fetch/fetcher.ts'
import { proposeName } from '../fetch/name.ts'
import { parseSource, withoutQuery } from '../fetch/source.ts'
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { SpoolWriter } from '../ports/spool.ts'
import { type Entry, PENDING } from './entry.ts'
import { nameOf, urlOf } from './manifest.ts'
import { StagedBody, type StagingBudget } from './staging.ts'

/** Fetches that are queued or under way at a time; the budget decides how many of them really run. */
const LOOKAHEAD = 512
/** Whole bodies waiting in memory to be written: above this, no new fetch starts. */
const MAX_UNWRITTEN_BYTES = 16 * 1024 * 1024

export interface IntakeOptions {
  archiveId: string
  manifest: readonly EntryInput[]
  /** One for each of the manifest; those that are pending are fetched. */
  entries: Entry[]
  fetcher: Fetcher
  staging: StagingBudget
  spool: SpoolWriter
  clock: Clock
  log: Log
  /** The entry is whole or failed now. */
  settled(index: number): void
  /** The spool failed. */
  failed(error: unknown): void
}

export interface Intake {
  /** Bytes of the bodies under way. */
  readonly receivedBytes: number
  /** What the bodies under way come to, as far as known. */
  readonly expectedBytes: number
  active(most: number): ActiveEntry[]
  /** Bytes of a whole body left memory: there may be room for more fetches. */
  written(bytes: number): void
  /** Stops all fetches and drops what was not whole; resolves once nothing of it is left. */
  close(): Promise<void>
}

export function createIntake(options: IntakeOptions): Intake {
  const { archiveId, manifest, entries, fetcher, staging, spool, clock, log, settled } = options
  const underWay = new Set<number>()
  const discards = new Set<Promise<void>>()
  let next = 0
  let unwrittenBytes = 0
  let filling = false
  let closed = false
  const lane = fetcher.openLane(() => unwrittenBytes < MAX_UNWRITTEN_BYTES)

  function fill(): void {
    if (filling || closed) return
    filling = true
    while (underWay.size < LOOKAHEAD && next < entries.length) {
      const index = next++
      if (entries[index]!.state === 'pending') begin(index)
    }
    filling = false
  }

  function begin(index: number): void {
    const input = manifest[index]!
    const url = parseSource(urlOf(input))
    if (url === null) return fail(index, { ok: false, code: 'BAD_URL', httpStatus: null, attempts: 0 })
    const entry: Extract<Entry, { state: 'fetching' }> = { state: 'fetching', body: null, fetch: null }
    entries[index] = entry
    underWay.add(index)
    entry.fetch = lane.fetch({
      index,
      url,
      sink: {
        begin(sizeBytes) {
          drop(entry.body)
          entry.body = new StagedBody(sizeBytes, { spool, budget: staging, failed: options.failed })
        },
        write: (chunk) => entry.body!.write(chunk),
        whenReady: (resume) => entry.body!.whenReady(resume),
      },
      done(outcome) {
        logOutcome(index, url, outcome)
        if (outcome.ok) arrive(index, entry.body!, outcome)
        else {
          drop(entry.body)
          fail(index, outcome)
        }
      },
    })
  }

  function arrive(index: number, body: StagedBody, outcome: Extract<FetchOutcome, { ok: true }>): void {
    const { contentDisposition, contentType, finalUrl, lastModified } = outcome
    const requested = nameOf(manifest[index]!)
    const facts = {
      proposedName: proposeName({ requested, contentDisposition, finalUrl: finalUrl.href, contentType, index }),
      modifiedMs: parseHttpDate(lastModified),
    }
    if (!body.isInPart) {
      unwrittenBytes += body.sizeBytes
      entries[index] = { state: 'whole', body, sinceMs: clock.monotonicMs(), facts }
      return done(index)
    }
    const kept = body.whole().then(() => {
      if (closed || body.part === null) return
      const { sizeBytes, crc32 } = body
      const at = { file: body.part.file, offset: 0, sizeBytes, crc32 }
      entries[index] = { state: 'spooled', at, facts, journalled: false }
      done(index)
    })
    track(kept)
  }

  function fail(index: number, outcome: Extract<FetchOutcome, { ok: false }>): void {
    const { code, attempts, httpStatus } = outcome
    const fact = { type: 'entry-failed', index, code, attempts, httpStatus } as const
    entries[index] = { state: 'failed', fact, journalled: false }
    done(index)
  }

  function done(index: number): void {
    underWay.delete(index)
    settled(index)
    fill()
  }

  function drop(body: StagedBody | null): void {
    if (body !== null) track(body.discard())
  }

  function track(work: Promise<void>): void {
    const tracked = work.catch(options.failed).finally(() => discards.delete(tracked))
    discards.add(tracked)
  }

  function logOutcome(index: number, url: URL, outcome: FetchOutcome): void {
    const fields = { archive: archiveId, entry: index, url: withoutQuery(url), attempts: outcome.attempts }
    if (outcome.ok) log.debug('entry fetched', fields)
    else log.info('entry failed', { ...fields, code: outcome.code, status: outcome.httpStatus })
  }

  function* bodiesUnderWay() {
    for (const index of underWay) {
      const entry = entries[index]!
      if (entry.state === 'fetching' && entry.fetch !== null && entry.fetch.attempt > 0)
        yield { index, fetch: entry.fetch }
    }
  }

  fill()
  return {
    get receivedBytes() {
      return bodiesUnderWay().reduce((sum, { fetch }) => sum + fetch.receivedBytes, 0)
    },
    get expectedBytes() {
      return bodiesUnderWay().reduce((sum, { fetch }) => sum + (fetch.sizeBytes ?? fetch.receivedBytes), 0)
    },
    active(most) {
      return bodiesUnderWay()
        .take(most)
        .map(({ index, fetch: { receivedBytes, sizeBytes, attempt } }) => ({
          index,
          receivedBytes,
          sizeBytes,
          attempt,
        }))
        .toArray()
    },
    written(bytes) {
      unwrittenBytes -= bytes
      lane.kick()
    },
    async close() {
      closed = true
      lane.close()
      for (const index of underWay) {
        const entry = entries[index]!
        if (entry.state !== 'fetching') continue
        drop(entry.body)
        entries[index] = PENDING
      }
      underWay.clear()
      await Promise.all(discards)
    },
  }
}

/** HTTP-date, RFC 9110 section 5.6.7; null where it is none. */
function parseHttpDate(text: string | null): number | null {
  const ms = text === null ? Number.NaN : Date.parse(text)
  return Number.isNaN(ms) ? null : ms
}
