// Reads the latest fact about each entry, which is the one that counts.
import type { EntryFact, Journal, Stored } from '../../ports/journal.ts'

/** The latest facts by index, for the entries from `from` up to but excluding `to`. */
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
