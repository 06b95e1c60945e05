// Decides what a response means for an attempt: a redirect, a body, or a failure. Pure: reads only status and headers.
import type { EntryFailureCode } from '#contracts/failures.ts'
import { firstValue } from '#contracts/formats/http.ts'
import { type Coding, codingsToUndo, isPlainlyFramed } from './decode.ts'
import { continues, parseContentRange, type Received, strongValidator } from './range-resume.ts'

/** The names are in lower case. */
export type HeaderFields = Record<string, string | string[] | undefined>

export interface ResponseFacts {
  readonly finalUrl: URL
  readonly contentType: string | null
  readonly contentDisposition: string | null
  readonly lastModified: string | null
}

export interface ResponseContext {
  /** The URL of this request, after any redirects. */
  readonly url: URL
  /** What an earlier attempt received. The request asked for the rest. Null if it asked for the whole file. */
  readonly received: Received | null
  readonly maxEntryBytes: number
  /** The request asked for the first byte, to learn of the rest. @default false */
  readonly isFirstByte?: boolean
}

export interface BodyVerdict {
  readonly kind: 'body'
  readonly facts: ResponseFacts
  /** Content codings to undo, in this order. Empty if the body is not encoded. */
  readonly codings: readonly Coding[]
  /** How many bytes of the body an earlier attempt received; the response continues after them. */
  readonly from: number
  /** The size of the whole body as it is sent, before decoding; null if it is not known. */
  readonly sizeBytes: number | null
  /** The limit for bytes as they are sent, before decoding. A larger body fails as ENTRY_TOO_LARGE. */
  readonly maxReceivedBytes: number
  /** A later attempt can continue the body under this validator; null if it cannot continue. */
  readonly validator: string | null
}

export type ResponseVerdict =
  | { readonly kind: 'follow'; readonly location: string }
  | BodyVerdict
  /** The attempt has failed. A small body is still read, so that the connection can be used again. */
  | { readonly kind: 'failed'; readonly code: EntryFailureCode; readonly retryAfter: string | null }
  /** The attempt has failed, and the response is aborted. */
  | { readonly kind: 'unusable'; readonly code: EntryFailureCode }

/** RFC 9110 section 15.4. The statuses 304 to 306 name no other address. */
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/**
 * 202 has only begun to make the file. 204 and 205 have no body. 207 lists other results. 226 has only what has changed
 * (RFC 3229).
 */
const BODILESS: ReadonlySet<number> = new Set([202, 204, 205, 207, 226])

/** Judges a final response, whose status is 200 or higher. */
export function judgeResponse(status: number, headers: HeaderFields, context: ResponseContext): ResponseVerdict {
  const location = firstValue(headers.location)
  if (REDIRECTS.has(status) && location !== undefined) return { kind: 'follow', location }
  if (hasBody(status)) return judgeBody(status, headers, context)
  // An empty file has no first byte (RFC 9110 section 15.5.17).
  if (status === 416 && context.isFirstByte) return judgeBody(200, { ...headers, 'content-length': '0' }, context)
  // 416 means that the file is shorter than what was received of it, so it has changed.
  if (status === 416 && context.received !== null) return { kind: 'failed', code: 'SOURCE_CHANGED', retryAfter: null }
  return { kind: 'failed', code: 'HTTP_STATUS', retryAfter: askedWait(status, headers) }
}

/** An unknown status is as 200 (RFC 9110 section 15). */
function hasBody(status: number): boolean {
  return status >= 200 && status < 300 && !BODILESS.has(status)
}

/**
 * What the origin asks to wait, as a number of seconds or a date. The fields for rate limits are part of many good answers,
 * too, so they count only in refusals (draft-ietf-httpapi-ratelimit-headers; GitHub and others tell the time of the reset).
 */
function askedWait(status: number, headers: HeaderFields): string | null {
  const retryAfter = firstValue(headers['retry-after'])
  if (retryAfter !== undefined) return retryAfter
  const isSpent = firstValue(headers['x-ratelimit-remaining'])?.trim() === '0'
  if (status !== 429 && status !== 503 && !(status === 403 && isSpent)) return null
  const policy = /(?:^|[;,\s])t=(\d{1,10})(?:$|[;,\s])/.exec(firstValue(headers.ratelimit) ?? '')?.[1]
  return firstValue(headers['ratelimit-reset']) ?? policy ?? firstValue(headers['x-ratelimit-reset']) ?? null
}

function judgeBody(status: number, headers: HeaderFields, context: ResponseContext): ResponseVerdict {
  const { url, received, maxEntryBytes, isFirstByte = false } = context
  const facts: ResponseFacts = {
    finalUrl: url,
    contentType: firstValue(headers['content-type']) ?? null,
    contentDisposition: firstValue(headers['content-disposition']) ?? null,
    lastModified: firstValue(headers['last-modified']) ?? null,
  }
  const codings = codingsToUndo(headers['content-encoding'], facts)
  if (codings === null || !isPlainlyFramed(headers['transfer-encoding'])) return unusable('BAD_ENCODING')
  const isEncoded = codings.length > 0
  const version = {
    etag: firstValue(headers.etag),
    lastModified: firstValue(headers['last-modified']),
    date: firstValue(headers.date),
  }
  const announced = parseLength(firstValue(headers['content-length']))
  let sizeBytes = announced
  let from = 0
  if (status === 206) {
    const range = parseContentRange(firstValue(headers['content-range']))
    if (isFirstByte) {
      if (range === null || range.first !== 0) return unusable('BAD_RESPONSE')
    } else if (received === null) {
      // The request asked for no range, so a partial response must hold the whole file.
      if (range === null || range.first !== 0 || range.total !== range.last + 1) return unusable('BAD_RESPONSE')
    } else if (isEncoded || !continues(received, range, version)) {
      // The received bytes are not encoded, so an encoded part cannot continue them.
      return unusable('SOURCE_CHANGED')
    }
    if (announced !== null && announced !== range!.last - range!.first + 1) return unusable('BAD_RESPONSE')
    sizeBytes = range!.total
    from = range!.first
  }
  // The limit is for decoded bytes. An encoding may add a little, but an endless body that decodes to nothing must
  // fail.
  const maxReceivedBytes = isEncoded ? 2 * maxEntryBytes : maxEntryBytes
  if (sizeBytes !== null && sizeBytes > maxReceivedBytes) return unusable('ENTRY_TOO_LARGE')
  // A part of an encoded body is of no use later, so it gets no validator.
  const validator = isEncoded ? null : from > 0 ? received!.validator : strongValidator(version)
  return { kind: 'body', facts, codings, from, sizeBytes, maxReceivedBytes, validator }
}

const unusable = (code: EntryFailureCode): ResponseVerdict => ({ kind: 'unusable', code })

function parseLength(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null
}
