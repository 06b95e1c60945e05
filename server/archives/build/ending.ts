// How a build ends before it is sealed, and which errors mean which end. Only what is known to be hopeless is an abort.
import type { AbortCode } from '#contracts/failures.ts'
import { StaleSeqError } from '../../ports/journal.ts'
import { NoSpaceError } from '../../ports/no-space.ts'
import { UnavailableError } from '../../ports/unavailable.ts'
import { UnknownFactError } from './recover.ts'

/** Of what is stopped nothing is deleted: it can be gone on with. `gaveWay`: journal and spool are somebody else's now. */
export type Ending =
  | { readonly outcome: 'aborted'; readonly code: AbortCode }
  | { readonly outcome: 'stopped'; readonly gaveWay?: boolean }

export function endingOf(error: unknown): Ending {
  if (error instanceof StaleSeqError || error instanceof UnknownFactError) return { outcome: 'stopped', gaveWay: true }
  if (error instanceof UnavailableError) return { outcome: 'stopped' }
  return { outcome: 'aborted', code: error instanceof NoSpaceError ? 'NO_SPACE' : 'INTERNAL' }
}
