// One entry while its archive is built: where it stands, and where its body is.
import type { BegunFact, Fact, Measured, WholeBody } from '../../ports/journal.ts'
import type { StagedBody } from '../bytes/staged-body.ts'
import type { FetchingEntry } from './entry-fetch.ts'

/** What a whole body is archived with. */
export interface WholeFacts {
  readonly proposedName: string
  readonly modifiedMs: number | null
}

export type Entry =
  | { readonly state: 'pending' }
  /** Of an earlier process, to be gone on with. */
  | { readonly state: 'begun'; readonly fact: BegunFact }
  | FetchingEntry
  /** Received whole, waiting in memory. */
  | {
      readonly state: 'whole'
      readonly body: StagedBody
      readonly deflated: Measured | null
      readonly sinceMs: number
      readonly facts: WholeFacts
    }
  /** Received whole and written to the spool. `journalled`: a crash would not lose it. */
  | { readonly state: 'spooled'; readonly at: SpooledBody; readonly facts: WholeFacts; journalled: boolean }
  | { readonly state: 'failed'; readonly fact: Extract<Fact, { type: 'entry-failed' }>; journalled: boolean }
  | { readonly state: 'sealed' }

export type SpooledBody = Pick<WholeBody, 'file' | 'offset' | 'sizeBytes' | 'crc32' | 'deflated'>

/** What of the body lies in memory or spool: it deflated, or as it is. */
export function heldBytes({ sizeBytes, crc32, deflated }: Measured & { readonly deflated: Measured | null }): Measured {
  return deflated ?? { sizeBytes, crc32 }
}

export const PENDING: Entry = { state: 'pending' }
export const SEALED: Entry = { state: 'sealed' }

/** A body that just went to the log at `offset`. */
export function inLog(
  { body, deflated }: Extract<Entry, { state: 'whole' }>,
  file: string,
  offset: number,
): SpooledBody {
  const { sizeBytes, crc32 } = body
  return { file, offset, sizeBytes, crc32, deflated }
}
