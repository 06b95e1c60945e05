// Decides when a partial response may continue a body, so that no body mixes two versions of a file. No I/O.
import { strongEtag } from '#contracts/formats/http.ts'

/** A longer ETag is not used, because the ETag is journalled at every checkpoint and sent with every request. */
const MAX_ETAG_LENGTH = 1024

/** Null if there is no strong validator, or if it is too long. */
export function usableEtag(etag: string | undefined): string | null {
  return etag !== undefined && etag.length <= MAX_ETAG_LENGTH ? strongEtag(etag) : null
}

export interface ContentRange {
  readonly first: number
  readonly last: number
  readonly total: number | null
}

/** RFC 9110 section 14.4. Null for anything but a satisfied byte range. */
export function parseContentRange(text: string | undefined): ContentRange | null {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(text?.trim() ?? '')
  if (match === null) return null
  const [first, last] = [Number(match[1]), Number(match[2])]
  const total = match[3] === '*' ? null : Number(match[3])
  return first <= last && (total === null || last < total) ? { first, last, total } : null
}

/** How much of a broken body was received, and the validator that it had. */
export interface Received {
  readonly bytes: number
  readonly etag: string
  /** The size of the whole body as announced; null if none was announced. */
  readonly sizeBytes: number | null
}

/** True if a 206 starts exactly where the last attempt stopped, runs to the end, and is of the same version. */
export function continues({ bytes, etag, sizeBytes }: Received, range: ContentRange | null, nowEtag: string | null) {
  if (range === null || range.first !== bytes || nowEtag !== etag) return false
  return range.total !== null && range.last === range.total - 1 && (sizeBytes === null || sizeBytes === range.total)
}
