// Makes one page of entry states from the manifest, the journal and, if the archive is being built, the build. Writes nothing.
import type { EntryPage, EntryStatus } from '#contracts/api.ts'
import { type EntryInput, type ListEntriesInput, urlOf } from '#contracts/archive.ts'
import { entryFailures, isRetryable } from '#contracts/failures.ts'
import { cutEnd } from '../../lib/text.ts'
import type { EntryFact, Journal, Stored } from '../../ports/journal.ts'
import type { Build } from '../build/build.ts'
import { latestFacts } from '../build/latest-facts.ts'
import { MAX_REPORTED_LENGTH } from './tail.ts'

/** Limit of a page as JSON. The page ends before an entry that would pass it. */
export const PAGE_BYTES = 256 * 1024
/** Room for the JSON around the entries. */
const FRAME_BYTES = 100

export async function pageOfEntries(
  journal: Journal,
  build: Build | null,
  archiveId: string,
  { cursor = 0, limit = 100 }: ListEntriesInput,
): Promise<EntryPage> {
  const manifest = await journal.manifest(archiveId)
  const to = Math.min(cursor + limit, manifest.length)
  const latest = await latestFacts(journal, archiveId, cursor, to)
  const entries: EntryStatus[] = []
  let bytes = FRAME_BYTES
  let index = cursor
  for (; index < to; index++) {
    const status = statusOf(index, manifest[index]!, latest.get(index), build)
    bytes += Buffer.byteLength(JSON.stringify(status)) + 1
    if (bytes > PAGE_BYTES && entries.length > 0) break
    entries.push(status)
  }
  return { entries, nextCursor: index < manifest.length ? index : null }
}

function statusOf(
  index: number,
  input: EntryInput,
  fact: Stored<EntryFact> | undefined,
  build: Build | null,
): EntryStatus {
  const url = cutEnd(urlOf(input), MAX_REPORTED_LENGTH)
  const unknown = { index, url, name: null, sizeBytes: null, crc32: null, failure: null }
  if (fact?.type === 'entry-failed') {
    const { code, attempts, httpStatus } = fact
    const { publicMessage: message } = entryFailures[code]
    const retryable = isRetryable(code, httpStatus)
    return { ...unknown, state: 'failed', failure: { code, message, retryable, attempts, httpStatus } }
  }
  const live = build?.entries.at(index)
  // A fact from before a rewind does not count: the build has the entry in another state then.
  const isWhole = fact !== undefined && fact.type !== 'entry-begun'
  const stands = isWhole && (live === undefined || live.state === 'sealed' || live.state === 'spooled')
  if (stands && fact.type === 'entry-sealed') {
    return { ...unknown, state: 'sealed', name: fact.name, sizeBytes: fact.sizeBytes, crc32: fact.crc32 }
  }
  if (stands || live?.state === 'whole')
    return { ...unknown, state: 'staged', sizeBytes: isWhole ? fact.sizeBytes : null }
  if (live?.state === 'fetching' && live.fetch !== null && live.fetch.attempt > 0) {
    return { ...unknown, state: 'fetching', sizeBytes: live.fetch.sizeBytes }
  }
  return { ...unknown, state: 'pending' }
}
