// Judges partial responses: when a body may be continued, so that none is ever spliced from two versions. No I/O.
import { strongEtag } from '#contracts/formats/http.ts'

/** A longer one is not used: it is journalled with every checkpoint, and sent with every request. */
const MAX_ETAG_LENGTH = 1024

/** Null without a strong validator, or one that is too long. */
export function usableEtag(etag: string | undefined): string | null {
  return etag !== undefined && etag.length <= MAX_ETAG_LENGTH ? strongEtag(etag) : null
}

export interface ContentRange {
  readonly first: number
  readonly last: number
  readonly total: number | null
}

/** RFC 9110 section 14.4; null for anything else than a satisfied byte range. */
export function parseContentRange(text: string | undefined): ContentRange | null {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(text?.trim() ?? '')
  if (match === null) return null
  const [first, last] = [Number(match[1]), Number(match[2])]
  const total = match[3] === '*' ? null : Number(match[3])
  return first <= last && (total === null || last < total) ? { first, last, total } : null
}

/** What was received of a body that broke off, and the validator it had. */
export interface Received {
  readonly bytes: number
  readonly etag: string
  /** The whole size it announced; null if it announced none. */
  readonly sizeBytes: number | null
}

/** A 206 to our Range request continues exactly where we stopped, to the very end, in the same version. */
export function continues({ bytes, etag, sizeBytes }: Received, range: ContentRange | null, nowEtag: string | null) {
  if (range === null || range.first !== bytes || nowEtag !== etag) return false
  return range.total !== null && range.last === range.total - 1 && (sizeBytes === null || sizeBytes === range.total)
}
