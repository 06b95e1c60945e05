// Decides what a download requests next, and what an answer means for it. Pure: no I/O, no clock of its own.
import { firstValue, strongEtag } from '#contracts/formats/http.ts'

/** How far a download has come. */
export interface Position {
  readonly receivedBytes: number
  /** The strong validator of the received bytes. Null if there is none, so that the download cannot be continued. */
  readonly etag: string | null
  /** Size of the whole archive; null while it grows. */
  readonly totalBytes: number | null
}

export const START: Position = { receivedBytes: 0, etag: null, totalBytes: null }

export type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>

export type Verdict =
  /** The body goes on at `position`. If `endProven`, the archive is whole when the body ends cleanly. */
  | { kind: 'body'; position: Position; startsOver: boolean; endProven: boolean }
  /** Nothing is missing. */
  | { kind: 'whole' }
  /** Asking again from `position` may help. */
  | { kind: 'again'; position: Position; reason: string; retryAfterMs: number }
  /** Asking again will not help. */
  | { kind: 'refused'; missing: boolean; reason: string }

/** The largest position of a range. As the last position it means "and all that follows" (RFC 8673 section 2.2). */
const FOREVER = Number.MAX_SAFE_INTEGER

/**
 * A server answers an open range ("bytes=N-") of a growing archive from byte 0. So the last position is FOREVER as long
 * as no total is known. If the archive was sealed meanwhile, the server takes that as "to the end".
 */
export function requestHeaders({ receivedBytes, etag, totalBytes }: Position): Record<string, string> {
  if (receivedBytes === 0 || etag === null) return {}
  return { range: `bytes=${receivedBytes}-${totalBytes === null ? FOREVER : ''}`, 'if-range': etag }
}

export function judge(position: Position, statusCode: number, headers: ResponseHeaders, nowMs: number): Verdict {
  switch (statusCode) {
    case 200:
      return judgeFull(position, headers)
    case 206:
      return judgePart(position, headers)
    case 416:
      return judgeUnsatisfied(position, headers)
    case 404:
    case 410:
      return { kind: 'refused', missing: true, reason: `the server has no such archive (HTTP ${statusCode})` }
    case 408:
    case 425:
    case 429:
      break
    default:
      if (statusCode < 500) return { kind: 'refused', missing: false, reason: `unexpected answer: HTTP ${statusCode}` }
  }
  const retryAfterMs = readRetryAfter(firstValue(headers['retry-after']), nowMs)
  return { kind: 'again', position, reason: `the server answered HTTP ${statusCode}`, retryAfterMs }
}

function judgeFull({ receivedBytes }: Position, headers: ResponseHeaders): Verdict {
  const totalBytes = readSize(firstValue(headers['content-length']))
  return {
    kind: 'body',
    position: { receivedBytes: 0, etag: strongEtag(firstValue(headers.etag)), totalBytes },
    startsOver: receivedBytes > 0,
    endProven: totalBytes !== null || isChunked(headers),
  }
}

/** Accepts a part only if its bytes follow exactly those received, and belong to the same representation. */
function judgePart(position: Position, headers: ResponseHeaders): Verdict {
  const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(firstValue(headers['content-range']) ?? '')
  const [first, last] = [Number(range?.[1]), Number(range?.[2])]
  const totalBytes = range === null || range[3] === '*' ? null : Number(range[3])
  const fits =
    range !== null &&
    position.receivedBytes > 0 &&
    first === position.receivedBytes &&
    last >= first &&
    strongEtag(firstValue(headers.etag)) === position.etag &&
    (totalBytes === null ? last === FOREVER : last < totalBytes) &&
    (totalBytes === null || position.totalBytes === null || totalBytes === position.totalBytes)
  if (!fits) {
    const reason = `a part that was not asked for (${firstValue(headers['content-range'])})`
    return { kind: 'again', position: START, reason, retryAfterMs: 0 }
  }
  return {
    kind: 'body',
    position: { ...position, totalBytes: totalBytes ?? position.totalBytes },
    startsOver: false,
    endProven: totalBytes !== null || isChunked(headers),
  }
}

/** If the cut came after the last byte but before the end of the message, there is nothing left to ask for. */
function judgeUnsatisfied(position: Position, headers: ResponseHeaders): Verdict {
  const total = /^bytes \*\/(\d+)$/.exec(firstValue(headers['content-range']) ?? '')?.[1]
  const etag = strongEtag(firstValue(headers.etag))
  if (Number(total) === position.receivedBytes && (etag === null || etag === position.etag)) return { kind: 'whole' }
  return { kind: 'again', position: START, reason: 'the range is beyond the end', retryAfterMs: 0 }
}

/** Without a length or chunks a body ends with its connection, and a cut looks just like that. */
function isChunked(headers: ResponseHeaders): boolean {
  return /\bchunked\b/i.test(firstValue(headers['transfer-encoding']) ?? '')
}

function readSize(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : null
}

/** Reads seconds or a date (RFC 9110 section 10.2.3). Returns 0 for anything else. */
export function readRetryAfter(text: string | undefined, nowMs: number): number {
  if (text === undefined) return 0
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000
  const date = Date.parse(text)
  return Number.isNaN(date) ? 0 : Math.max(0, date - nowMs)
}
