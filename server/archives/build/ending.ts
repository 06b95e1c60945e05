// Maps errors to the way in which a build ends before it is sealed. An error aborts unless the archive can be continued.
import type { AbortCode } from '#contracts/failures.ts'
import { StaleSeqError } from '../../ports/journal.ts'
import { NoSpaceError } from '../../ports/no-space.ts'
import { UnavailableError } from '../../ports/unavailable.ts'
import { UnknownFactError } from './recover.ts'

/** A stopped build deletes nothing, so that another can continue. `gaveWay`: another builder owns journal and spool now. */
export type Ending =
  | { readonly outcome: 'aborted'; readonly code: AbortCode }
  | { readonly outcome: 'stopped'; readonly gaveWay?: boolean }

export function endingOf(error: unknown): Ending {
  if (error instanceof StaleSeqError || error instanceof UnknownFactError) return { outcome: 'stopped', gaveWay: true }
  if (error instanceof UnavailableError) return { outcome: 'stopped' }
  return { outcome: 'aborted', code: error instanceof NoSpaceError ? 'NO_SPACE' : 'INTERNAL' }
}
