// Lets pages of failures take turns, one archive after the other: each is parsed in a millisecond, for thousands of watchers.
import { createTurns } from '../lib/turns.ts'
import type { Journal } from '../ports/journal.ts'

/** The same journal, but for that. */
export function withFairReads<J extends Pick<Journal, 'failures'>>(journal: J): J {
  const turns = createTurns()
  const failures: Journal['failures'] = async (archiveId, ...rest) => {
    await turns.next(archiveId)
    return journal.failures(archiveId, ...rest)
  }
  return Object.assign(Object.create(journal), { failures }) as J
}
