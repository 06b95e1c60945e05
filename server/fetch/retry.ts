// Decides whether another attempt follows a failed one, and after what delay. No timers, no clock, no I/O.
import type { EntryFailureCode } from '#contracts/failures.ts'

export interface AttemptFailure {
  readonly code: EntryFailureCode
  readonly httpStatus?: number | null | undefined
  /** The Retry-After header as the origin sent it. */
  readonly retryAfter?: string | null | undefined
}

interface RetryLimits {
  /** Includes the first attempt. */
  readonly maxAttempts: number
  /** Wall clock time, which a Retry-After date is compared with. */
  readonly nowMs: number
  /** @default Math.random */
  readonly random?: () => number
}

const FIRST_DELAY_MS = 250
const DELAY_FACTOR = 4
const MAX_DELAY_MS = 30_000

/**
 * True if the same request may succeed a moment later. A policy, a limit or a broken origin does not change that fast.
 */
const isTransient = {
  BAD_URL: false,
  FORBIDDEN_TARGET: false,
  NAME_NOT_RESOLVED: true,
  CONNECT_FAILED: true,
  CONNECT_TIMEOUT: true,
  TLS_ERROR: false,
  HEADERS_TIMEOUT: true,
  BODY_TOO_SLOW: true,
  ENTRY_TIMEOUT: false, // no time is left for this entry
  HTTP_STATUS: true, // only for the statuses below
  TOO_MANY_REDIRECTS: false,
  BAD_RESPONSE: false,
  BODY_TRUNCATED: true,
  SOURCE_CHANGED: true,
  BAD_ENCODING: false,
  ENTRY_TOO_LARGE: false,
} as const satisfies Record<EntryFailureCode, boolean>

const transientStatuses: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504])

/**
 * `attempt` is the number of the attempt that just failed; the first is 1. The delay is the backoff or what the origin
 * asks for, whichever is longer. Up to half a backoff is added at random, so that entries that failed together do not
 * retry together.
 */
export function nextDelayMs(failure: AttemptFailure, attempt: number, limits: RetryLimits): number | 'stop' {
  const { maxAttempts, nowMs, random = Math.random } = limits
  if (attempt >= maxAttempts || !isTransient[failure.code]) return 'stop'
  const isStatus = failure.code === 'HTTP_STATUS'
  if (isStatus && !transientStatuses.has(failure.httpStatus ?? 0)) return 'stop'
  const backoffMs = FIRST_DELAY_MS * DELAY_FACTOR ** (attempt - 1)
  const askedMs = isStatus ? retryAfterMs(failure.retryAfter ?? '', nowMs) : 0
  return Math.min(Math.max(backoffMs, askedMs) + (backoffMs / 2) * random(), MAX_DELAY_MS)
}

const IMF_FIXDATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/
const RFC850_DATE = /^[A-Z][a-z]{5,8}, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT$/
const ASCTIME_DATE = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/

/** Reads seconds or an HTTP-date (RFC 9110 sections 10.2.3 and 5.6.7). Any other value counts as no delay. */
function retryAfterMs(header: string, nowMs: number): number {
  const value = header.trim()
  if (/^\d+$/.test(value)) return Number(value) * 1000
  if (IMF_FIXDATE.test(value) || RFC850_DATE.test(value)) return untilMs(Date.parse(value), nowMs)
  // An asctime date means UTC but names no zone, so Date.parse alone would read it as local time.
  if (ASCTIME_DATE.test(value)) return untilMs(Date.parse(`${value} GMT`), nowMs)
  return 0
}

function untilMs(dateMs: number, nowMs: number): number {
  return Number.isNaN(dateMs) ? 0 : dateMs - nowMs
}
