// What counts of an entry is the latest fact about it.
import type { EntryFact, Journal, Stored } from '../../ports/journal.ts'

/** By index, of the entries from `from` up to, but without, `to`. */
export async function latestFacts(
  journal: Pick<Journal, 'entryFacts'>,
  archiveId: string,
  from: number,
  to: number,
): Promise<ReadonlyMap<number, Stored<EntryFact>>> {
  const latest = new Map<number, Stored<EntryFact>>()
  for (const fact of await journal.entryFacts(archiveId, from, to)) latest.set(fact.index, fact)
  return latest
}
