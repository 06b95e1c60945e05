// Makes the report inside an archive: JSON with a line for the outcome of each entry. The same responses give the same bytes.
import { REPORT_NAME, urlOf } from '#contracts/archive.ts'
import { entryFailures } from '#contracts/failures.ts'
import { parseSource, withoutQuery } from '../../fetch/source.ts'
import type { ArchiveRecord, EntryFact } from '../../ports/journal.ts'
import { latestFacts } from './latest-facts.ts'
import type { BuildJournal } from './patience.ts'

const PAGE = 1_000

/** The report in pieces. It leaves out times and attempts, which differ from run to run, and queries, which may be secret. */
export async function reportOf(journal: BuildJournal, { archiveId, name, format }: ArchiveRecord): Promise<Buffer[]> {
  const manifest = await journal.manifest(archiveId)
  const head = { report: REPORT_NAME, version: 1, archive: name, format, totalEntries: manifest.length }
  const pieces = [Buffer.from(`${JSON.stringify(head).slice(0, -1)},"entries":[\n`)]
  for (let from = 0; from < manifest.length; from += PAGE) {
    const to = Math.min(from + PAGE, manifest.length)
    const latest = await latestFacts(journal, archiveId, from, to)
    let lines = ''
    for (let index = from; index < to; index++) {
      const line = JSON.stringify({ index, url: reportedUrl(urlOf(manifest[index]!)), ...outcomeOf(latest.get(index)) })
      lines += index + 1 < manifest.length ? `${line},\n` : `${line}\n`
    }
    pieces.push(Buffer.from(lines))
  }
  pieces.push(Buffer.from(']}\n'))
  return pieces
}

/** Null if the text is not a URL that could be fetched, because it may hold a password. */
function reportedUrl(text: string): string | null {
  const url = parseSource(text)
  return url === null ? null : withoutQuery(url)
}

function outcomeOf(fact: EntryFact | undefined): object {
  if (fact?.type === 'entry-sealed') {
    const { name, sizeBytes, crc32 } = fact
    return { name, sizeBytes, crc32: crc32.toString(16).padStart(8, '0') }
  }
  if (fact?.type !== 'entry-failed') throw new Error('an entry is neither sealed nor failed when its archive is closed')
  const { code, httpStatus } = fact
  return { failure: { code, message: entryFailures[code].publicMessage, httpStatus } }
}
