// Decides when a partial response may continue a body, so that no body mixes two versions of a file. No I/O.
import { strongEtag } from '#contracts/formats/http.ts'

/** A longer one is not used, because it is journalled at every checkpoint and sent with every request. */
const MAX_VALIDATOR_LENGTH = 1024
/** A file may change twice within the second that its date names, and clocks differ (RFC 9110 section 8.8.2.2). */
const MIN_AGE_MS = 60_000

/** The fields of a response that say which version of a file it has. */
export interface VersionFields {
  readonly etag: string | undefined
  readonly lastModified: string | undefined
  readonly date: string | undefined
}

/**
 * What If-Range may say of this version (RFC 9110 section 13.1.5): a strong entity tag; or the date of the file, if the file has
 * no tag at all and was a minute old when it was sent. Null otherwise: a weak tag may stand for different bytes.
 */
export function strongValidator({ etag, lastModified, date }: VersionFields): string | null {
  if (etag !== undefined) return etag.length <= MAX_VALIDATOR_LENGTH ? strongEtag(etag) : null
  const ageMs = httpDateMs(date) - httpDateMs(lastModified)
  return lastModified !== undefined && ageMs >= MIN_AGE_MS ? lastModified.trim() : null
}

/** Reads an IMF-fixdate, the one form that is sent today (RFC 9110 section 5.6.7). NaN for anything else. */
function httpDateMs(text: string | undefined): number {
  const isDate =
    text !== undefined && /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(text.trim())
  return isDate ? Date.parse(text) : Number.NaN
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
  /** Names the version, as If-Range says it. */
  readonly validator: string
  /** The size of the whole body as announced; null if none was announced. */
  readonly sizeBytes: number | null
}

/** True if a 206 starts exactly where the last attempt stopped, runs to the end, and is of the same version. */
export function continues({ bytes, validator, sizeBytes }: Received, range: ContentRange | null, now: VersionFields) {
  if (range === null || range.first !== bytes || !isOfVersion(validator, now)) return false
  return range.total !== null && range.last === range.total - 1 && (sizeBytes === null || sizeBytes === range.total)
}

/** The date of a response to If-Range is new, so the age of the file is not looked at again. */
function isOfVersion(validator: string, { etag, lastModified }: VersionFields): boolean {
  return etag === undefined ? lastModified?.trim() === validator : strongEtag(etag) === validator
}
