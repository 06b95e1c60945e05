// What a response means for an attempt: another address, a body, or a failure. Pure: a status and headers in, a verdict out.
import type { EntryFailureCode } from '#contracts/failures.ts'
import { firstValue } from '#contracts/formats/http.ts'
import { type Coding, codingsToUndo, isPlainlyFramed } from './decode.ts'
import { continues, parseContentRange, type Received, usableEtag } from './range-resume.ts'

/** Names in lower case. */
export type HeaderFields = Record<string, string | string[] | undefined>

export interface ResponseFacts {
  readonly finalUrl: URL
  readonly contentType: string | null
  readonly contentDisposition: string | null
  readonly lastModified: string | null
}

export interface ResponseContext {
  /** What was asked for. */
  readonly url: URL
  /** What is there from an earlier attempt: the request asked for the rest. */
  readonly received: Received | null
  readonly maxEntryBytes: number
}

export interface BodyVerdict {
  readonly kind: 'body'
  readonly facts: ResponseFacts
  /** To be undone, in this order; empty for a body that is sent as it is. */
  readonly codings: readonly Coding[]
  /** How many bytes of the body are there already. */
  readonly from: number
  /** Of the whole body as it is sent; null if that is not known. */
  readonly sizeBytes: number | null
  /** As they are sent. More of them fail as ENTRY_TOO_LARGE. */
  readonly maxReceivedBytes: number
  /** A later attempt can go on under it; null if it cannot. */
  readonly etag: string | null
}

export type ResponseVerdict =
  | { readonly kind: 'follow'; readonly location: string }
  | BodyVerdict
  /** The attempt has failed; a little of the response's body is read, so that the connection can serve on. */
  | { readonly kind: 'failed'; readonly code: EntryFailureCode; readonly retryAfter: string | null }
  /** The attempt has failed, and nothing of this response is wanted. */
  | { readonly kind: 'unusable'; readonly code: EntryFailureCode }

/** RFC 9110 section 15.4; 304 to 306 lead nowhere. */
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/** For a final response, whose status is 200 or more. */
export function judgeResponse(status: number, headers: HeaderFields, context: ResponseContext): ResponseVerdict {
  const location = firstValue(headers.location)
  if (REDIRECTS.has(status) && location !== undefined) return { kind: 'follow', location }
  if (status === 200 || status === 203 || status === 206) return judgeBody(status, headers, context)
  // 416: the file is shorter than what is there of it, so it has changed.
  if (status === 416 && context.received !== null) return { kind: 'failed', code: 'SOURCE_CHANGED', retryAfter: null }
  return { kind: 'failed', code: 'HTTP_STATUS', retryAfter: firstValue(headers['retry-after']) ?? null }
}

function judgeBody(status: number, headers: HeaderFields, context: ResponseContext): ResponseVerdict {
  const { url, received, maxEntryBytes } = context
  const facts: ResponseFacts = {
    finalUrl: url,
    contentType: firstValue(headers['content-type']) ?? null,
    contentDisposition: firstValue(headers['content-disposition']) ?? null,
    lastModified: firstValue(headers['last-modified']) ?? null,
  }
  const codings = codingsToUndo(headers['content-encoding'], facts)
  if (codings === null || !isPlainlyFramed(headers['transfer-encoding'])) return unusable('BAD_ENCODING')
  const isEncoded = codings.length > 0
  const etag = usableEtag(firstValue(headers.etag))
  const announced = parseLength(firstValue(headers['content-length']))
  let sizeBytes = announced
  let from = 0
  if (status === 206) {
    const range = parseContentRange(firstValue(headers['content-range']))
    if (received === null) {
      // Nobody asked for a part: only all of it will do.
      if (range === null || range.first !== 0 || range.total !== range.last + 1) return unusable('BAD_RESPONSE')
    } else if (isEncoded || !continues(received, range, etag)) {
      // What is there is not encoded, so an encoded part never continues it.
      return unusable('SOURCE_CHANGED')
    }
    if (announced !== null && announced !== range!.last - range!.first + 1) return unusable('BAD_RESPONSE')
    sizeBytes = range!.total
    from = range!.first
  }
  // The limit is for what comes out. An encoding may add a little, and may also go on without an end while nothing comes out.
  const maxReceivedBytes = isEncoded ? 2 * maxEntryBytes : maxEntryBytes
  if (sizeBytes !== null && sizeBytes > maxReceivedBytes) return unusable('ENTRY_TOO_LARGE')
  // No part of an encoded body is of use.
  return { kind: 'body', facts, codings, from, sizeBytes, maxReceivedBytes, etag: isEncoded ? null : etag }
}

const unusable = (code: EntryFailureCode): ResponseVerdict => ({ kind: 'unusable', code })

function parseLength(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null
}
