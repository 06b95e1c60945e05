// Fetches an archive's entries in manifest order, and moves each one from pending to whole or failed. Journals nothing.
import { type EntryInput, nameOf, urlOf } from '#contracts/archive.ts'
import type { ActiveEntry, WaitingOrigin } from '#contracts/events.ts'
import type { Fetcher, FetchOutcome } from '../../fetch/fetcher.ts'
import { proposeName } from '../../fetch/name.ts'
import { parseSource, withoutQuery } from '../../fetch/source.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { ArchiveRecord, BegunFact, Measured } from '../../ports/journal.ts'
import type { SpoolReader, SpoolWriter } from '../../ports/spool.ts'
import { isCompressedMedia } from '../../zip/compressible.ts'
import type { Deflater } from '../../zip/deflate.ts'
import type { BodyCheckpoint, StagedBody } from '../bytes/staged-body.ts'
import type { StagingMemory } from '../bytes/staging-memory.ts'
import { deflatePart } from './deflate-part.ts'
import type { WholeFacts } from './entry.ts'
import { type Before, type EntryFetchHost, type FetchingEntry, fetchEntry } from './entry-fetch.ts'
import type { EntryTable } from './entry-table.ts'

/** How many fetches are queued or under way at the same time. The budget decides how many of them really run. */
const LOOKAHEAD = 256
/** More entries are begun only if those under way wait for an origin that has asked for a pause. Each takes about 1 KiB. */
const MAX_LOOKAHEAD = 1024
/** If whole bodies that wait to be written take more memory than this, no new fetch starts. */
const MAX_UNWRITTEN_BYTES = 16 * 1024 * 1024

export interface IntakeOptions {
  record: ArchiveRecord
  client: string
  manifest: readonly EntryInput[]
  /** One entry for each of the manifest. Those that are pending or begun are fetched. */
  entries: EntryTable
  fetcher: Fetcher
  staging: StagingMemory
  deflater: Deflater
  spool: SpoolWriter
  /** Opens a reader of the archive's spool. */
  reader(): SpoolReader
  clock: Clock
  log: Log
  /** Called when the spool failed. */
  failed(error: unknown): void
}

export interface Intake {
  /** Whether any entry is queued or under way. */
  readonly isBusy: boolean
  /** Total size of the whole bodies that wait in memory. */
  readonly unwrittenBytes: number
  /** What was received of the bodies under way. */
  readonly receivedBytes: number
  /** Total size of the bodies under way, as far as it is known. */
  readonly expectedBytes: number
  active(max: number): ActiveEntry[]
  /** Origins that are left alone for now. */
  waiting(max: number): WaitingOrigin[]
  /** Begins more entries if those under way wait for their origins. It is called some times a second. */
  fill(): void
  /** Reports that so many bytes of whole bodies were written. There may be room for more fetches then. */
  written(bytes: number): void
  /**
   * Stops all fetches, and resolves once nothing is under way. With `keep`, bodies that a later process can continue stay in
   * their parts and are reported as begun. All other bodies that are not whole are discarded.
   */
  close(keep: boolean): Promise<void>
}

export function createIntake(options: IntakeOptions): Intake {
  const { record, client, manifest, entries, fetcher, staging, deflater, spool, clock, log } = options
  const { archiveId, compression } = record
  const underWay = new Set<number>()
  const discards = new Set<Promise<void>>()
  const closing = new AbortController()
  const turn = { client, archive: archiveId, signal: closing.signal }
  let next = 0
  let unwrittenBytes = 0
  let filling = false
  let closed = false
  const lane = fetcher.openLane({
    mayStart: () => unwrittenBytes < MAX_UNWRITTEN_BYTES,
    client,
    maxPerOrigin: record.maxPerOrigin,
  })

  function fill(): void {
    if (filling || closed) return
    filling = true
    const lookahead = Math.min(LOOKAHEAD + lane.heldBackCount, MAX_LOOKAHEAD)
    while (underWay.size < lookahead && next < entries.length) {
      const index = next++
      const { state } = entries.at(index)
      if (state === 'pending' || state === 'begun') begin(index)
    }
    filling = false
  }

  function begin(index: number): void {
    const input = manifest[index]!
    const url = parseSource(urlOf(input))
    if (url === null) return fail(index, { ok: false, code: 'BAD_URL', httpStatus: null, attempts: 0 })
    underWay.add(index)
    const before = entries.at(index)
    if (before.state === 'begun') track(goOn(index, url, before.fact))
    else start(index, url, null)
  }

  /** Continues a body that an earlier process has begun. */
  async function goOn(index: number, url: URL, fact: BegunFact): Promise<void> {
    const part = await spool.reopenPart(fact.file, fact.receivedBytes)
    if (closed) return part.close()
    start(index, url, { part, fact })
  }

  function start(index: number, url: URL, before: Before | null): void {
    const { entry, request } = fetchEntry(host, index, url, before)
    entries.begin(entry)
    entry.fetch = lane.fetch(request)
  }

  const host: EntryFetchHost = {
    spool,
    staging,
    failed: options.failed,
    grown: reportBegun,
    dropped: drop,
    ended(entry, outcome) {
      const { index, url, body } = entry
      logOutcome(index, url, outcome)
      if (outcome.ok) return arrive(index, body!, outcome)
      drop(body)
      fail(index, outcome)
    },
  }

  function reportBegun({ index, validator, announcedBytes }: FetchingEntry, checkpoint: BodyCheckpoint): void {
    if (validator === null) return
    entries.grow({ type: 'entry-begun', index, ...checkpoint, etag: validator, announcedBytes })
  }

  function arrive(index: number, body: StagedBody, outcome: Extract<FetchOutcome, { ok: true }>): void {
    const { contentDisposition, contentType, finalUrl, lastModified } = outcome
    const requested = nameOf(manifest[index]!)
    const facts = {
      proposedName: proposeName({ requested, contentDisposition, finalUrl, contentType, index }),
      modifiedMs: parseHttpDate(lastModified),
    }
    const isMedia = compression === 'auto' && isCompressedMedia(facts.proposedName, contentType)
    const deflates = compression !== 'store' && !isMedia
    if (body.isInPart) return track(keepPart(index, body, facts, deflates))
    unwrittenBytes += body.sizeBytes
    if (deflates) track(deflateInMemory(index, body, facts))
    else beWhole(index, body, null, facts)
  }

  function beWhole(index: number, body: StagedBody, deflated: Measured | null, facts: WholeFacts): void {
    entries.hold(index, { body, deflated, sinceMs: clock.monotonicMs(), facts })
    done(index)
  }

  async function deflateInMemory(index: number, body: StagedBody, facts: WholeFacts): Promise<void> {
    const deflated = await deflater.inMemory(body.memory, turn)
    if (closed) return
    if (deflated !== null) body.replaceMemory(deflated.bytes)
    beWhole(index, body, deflated && { sizeBytes: deflated.sizeBytes, crc32: deflated.crc32 }, facts)
  }

  async function keepPart(index: number, body: StagedBody, facts: WholeFacts, deflates: boolean): Promise<void> {
    await body.whole()
    const { part, sizeBytes, crc32 } = body
    if (closed || part === null) return
    const raw = { file: part.file, offset: 0, sizeBytes, crc32, deflated: null }
    const at = deflates ? await deflatePart(raw, { deflater, reader: options.reader, spool, turn }) : raw
    if (closed) return
    entries.store(index, at, facts)
    done(index)
  }

  function fail(index: number, outcome: Extract<FetchOutcome, { ok: false }>): void {
    const { code, attempts, httpStatus } = outcome
    entries.fail({ type: 'entry-failed', index, code, attempts, httpStatus })
    done(index)
  }

  function done(index: number): void {
    underWay.delete(index)
    fill()
  }

  async function keepBody(entry: FetchingEntry, body: StagedBody): Promise<void> {
    const checkpoint = await body.keep()
    if (checkpoint === null) await body.discard()
    else reportBegun(entry, checkpoint)
  }

  function drop(body: StagedBody | null): void {
    if (body !== null) track(body.discard())
  }

  function track(work: Promise<void>): void {
    const tracked = work.catch(options.failed).finally(() => discards.delete(tracked))
    discards.add(tracked)
  }

  function logOutcome(index: number, url: URL, outcome: FetchOutcome): void {
    const { attempts } = outcome
    const fields = () => ({ archive: archiveId, entry: index, url: withoutQuery(url), attempts })
    if (outcome.ok) log.debug('entry fetched', fields)
    else log.info('entry failed', { ...fields(), code: outcome.code, status: outcome.httpStatus })
  }

  fill()
  return {
    get isBusy() {
      return underWay.size > 0
    },
    get unwrittenBytes() {
      return unwrittenBytes
    },
    get receivedBytes() {
      return activeEntries(underWay, entries).reduce((sum, { receivedBytes }) => sum + receivedBytes, 0)
    },
    get expectedBytes() {
      return activeEntries(underWay, entries).reduce(
        (sum, { sizeBytes, receivedBytes }) => sum + (sizeBytes ?? receivedBytes),
        0,
      )
    },
    active(max) {
      return activeEntries(underWay, entries).take(max).toArray()
    },
    waiting(max) {
      return lane.heldBack.slice(0, max)
    },
    fill,
    written(bytes) {
      unwrittenBytes -= bytes
      lane.kick()
    },
    async close(keep) {
      closed = true
      closing.abort()
      lane.close()
      for (const index of underWay) {
        const entry = entries.at(index)
        if (entry.state !== 'fetching') continue
        if (keep && entry.body?.isInPart && entry.validator !== null) track(keepBody(entry, entry.body))
        else drop(entry.body)
        entries.reset(index)
      }
      underWay.clear()
      await Promise.all(discards)
    },
  }
}

/** Longer than any usual form of a date. A limit bounds the time that parsing takes. */
const MAX_DATE_LENGTH = 64

/** Parses an HTTP-date (RFC 9110 section 5.6.7). Null if the text is not a date. */
function parseHttpDate(text: string | null): number | null {
  const ms = text === null || text.length > MAX_DATE_LENGTH ? Number.NaN : Date.parse(text)
  return Number.isNaN(ms) ? null : ms
}

function* activeEntries(underWay: Iterable<number>, entries: EntryTable): Generator<ActiveEntry, void> {
  for (const index of underWay) {
    const entry = entries.at(index)
    if (entry.state !== 'fetching' || entry.fetch === null || entry.fetch.attempt === 0) continue
    const { attempt, receivedBytes, sizeBytes } = entry.fetch
    // Between the last byte and the whole body, only the body itself knows how much was received.
    yield { index, attempt, sizeBytes, receivedBytes: Math.max(receivedBytes, entry.body?.sizeBytes ?? 0) }
  }
}
