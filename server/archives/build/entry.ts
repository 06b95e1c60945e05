// The states of one entry while its archive is built, and where its body lies in each of them.
import type { BegunFact, Fact, Measured, WholeBody } from '../../ports/journal.ts'
import type { StagedBody } from '../bytes/staged-body.ts'
import type { FetchingEntry } from './entry-fetch.ts'

/** Name and date with which a whole body is archived. */
export interface WholeFacts {
  readonly proposedName: string
  readonly modifiedMs: number | null
}

export type Entry =
  | { readonly state: 'pending' }
  /** An earlier process received a part of the body, to be continued. */
  | { readonly state: 'begun'; readonly fact: BegunFact }
  | FetchingEntry
  /** The body is whole and waits in memory. */
  | {
      readonly state: 'whole'
      readonly body: StagedBody
      readonly deflated: Measured | null
      readonly sinceMs: number
      readonly facts: WholeFacts
    }
  /** The body is whole and in the spool. If it is `journalled`, a crash does not lose it. */
  | { readonly state: 'spooled'; readonly at: SpooledBody; readonly facts: WholeFacts; journalled: boolean }
  | { readonly state: 'failed'; readonly fact: Extract<Fact, { type: 'entry-failed' }>; journalled: boolean }
  | { readonly state: 'sealed' }

export type SpooledBody = Pick<WholeBody, 'file' | 'offset' | 'sizeBytes' | 'crc32' | 'deflated'>

/** Size and CRC of the bytes in memory or spool, which are the body deflated or as it was received. */
export function heldBytes({ sizeBytes, crc32, deflated }: Measured & { readonly deflated: Measured | null }): Measured {
  return deflated ?? { sizeBytes, crc32 }
}

export const PENDING: Entry = { state: 'pending' }
export const SEALED: Entry = { state: 'sealed' }

/** Where a body lies that is written to the log `file` at `offset`. */
export function inLog(
  { body, deflated }: Extract<Entry, { state: 'whole' }>,
  file: string,
  offset: number,
): SpooledBody {
  const { sizeBytes, crc32 } = body
  return { file, offset, sizeBytes, crc32, deflated }
}
