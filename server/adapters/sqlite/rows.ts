// Reads rows of the journal: turns them into archive records and facts.
import type { ArchiveRecord, Fact, Stored } from '../../ports/journal.ts'

export interface ArchiveRow {
  request: string
  last_seq: number
  generation: number
  terminal: string | null
  swept_at: number | null
  client: string
  journal_bytes: number
}

export function toRecord(row: ArchiveRow): ArchiveRecord {
  return {
    // For archives that were accepted before nonces existed.
    nonce: '',
    ...JSON.parse(row.request),
    lastSeq: row.last_seq,
    generation: row.generation,
    terminal: row.terminal === null ? null : JSON.parse(row.terminal),
    swept: row.swept_at !== null,
    client: row.client,
    journalBytes: row.journal_bytes,
  }
}

interface FactsRow {
  last_seq: number
  body: string
}

/** Picks the wanted facts from the rows, in order, at most `limit`. Reads no more rows than it needs. */
export function pick<F extends Fact>(
  rows: Iterable<unknown>,
  wanted: (fact: Stored<Fact>) => boolean,
  limit = Infinity,
) {
  const picked: Stored<F>[] = []
  for (const row of rows) {
    const { last_seq, body } = row as FactsRow
    const facts = JSON.parse(body) as Fact[]
    for (const [at, fact] of facts.entries()) {
      const stored = { ...fact, seq: last_seq - facts.length + 1 + at }
      if (wanted(stored)) picked.push(stored as unknown as Stored<F>)
      if (picked.length === limit) return picked
    }
  }
  return picked
}
