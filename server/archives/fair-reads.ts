// Reads pages of failures in turns, one archive after the other: parsing one takes a millisecond, and thousands may watch.
import { createTurns } from '../lib/turns.ts'
import type { Journal } from '../ports/journal.ts'

/** The same journal, except that `failures` waits for the turn of its archive. */
export function withFairReads<J extends Pick<Journal, 'failures'>>(journal: J): J {
  const turns = createTurns()
  const failures: Journal['failures'] = async (archiveId, ...rest) => {
    await turns.next(archiveId)
    return journal.failures(archiveId, ...rest)
  }
  return Object.assign(Object.create(journal), { failures }) as J
}
