// Decides whether another attempt follows a failed one, and after what delay. No timers, no clock, no I/O.
import { type EntryFailureCode, isRetryable } from '#contracts/failures.ts'

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
const MAX_BACKOFF_MS = 30_000

/** With these an origin says that it is asked too much. Some large sites send 529. */
const refusingStatuses: ReadonlySet<number> = new Set([429, 503, 529])

/** With this status the origin refuses, rather than saying something about the file. */
export const isRefusingStatus = (status: number): boolean => refusingStatuses.has(status)

/** The origin refuses for now, whatever it is asked for: in so many words, or by what it does while it answers others. */
export function isRefusal(
  { code, httpStatus }: AttemptFailure,
  origin: { readonly serves: boolean; readonly isQueueing: boolean },
): boolean {
  if (code === 'HTTP_STATUS') return isRefusingStatus(httpStatus ?? 0)
  return (code === 'CONNECT_FAILED' && origin.serves) || (code === 'HEADERS_TIMEOUT' && origin.isQueueing)
}

/**
 * `attempt` is the number of the attempt that just failed; the first is 1. The delay is the backoff or what the origin
 * asks for, whichever is longer. Up to half a backoff is added at random, so that entries that failed together do not
 * retry together.
 */
export function nextDelayMs(failure: AttemptFailure, attempt: number, limits: RetryLimits): number | 'stop' {
  const { maxAttempts, nowMs, random = Math.random } = limits
  const waitMs = askedWaitMs(failure, nowMs)
  if (attempt >= maxAttempts || !(waitMs !== null || mayPass(failure))) return 'stop'
  const backoffMs = Math.min(FIRST_DELAY_MS * DELAY_FACTOR ** (attempt - 1), MAX_BACKOFF_MS)
  return Math.max(backoffMs, waitMs ?? 0) + (backoffMs / 2) * random()
}

/** The same request may well succeed a moment later. The entry's time in all does not come back. */
const mayPass = ({ code, httpStatus }: AttemptFailure): boolean =>
  code !== 'ENTRY_TIMEOUT' && isRetryable(code, httpStatus ?? null)

/** How long the origin asks to wait; null if it does not ask. */
export function askedWaitMs({ code, retryAfter }: AttemptFailure, nowMs: number): number | null {
  if (code !== 'HTTP_STATUS') return null
  const waitMs = retryAfterMs(retryAfter ?? '', nowMs)
  return waitMs === null ? null : Math.max(0, waitMs)
}

const IMF_FIXDATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/
const RFC850_DATE = /^[A-Z][a-z]{5,8}, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT$/
const ASCTIME_DATE = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/

/** A number as large as this is a time since 1970, in seconds or in milliseconds. Nobody asks to wait for 30 years. */
const MIN_EPOCH_SECONDS = 1e9
const MIN_EPOCH_MS = 1e12

/**
 * Reads seconds or an HTTP-date (RFC 9110 sections 10.2.3 and 5.6.7). Fields for rate limits may also hold a time since 1970,
 * and fractions. Null for any other value, which asks for nothing.
 */
function retryAfterMs(header: string, nowMs: number): number | null {
  const value = header.trim()
  if (/^\d+(\.\d{1,9})?$/.test(value)) {
    const number = Number(value)
    if (number < MIN_EPOCH_SECONDS) return number * 1_000
    return (number < MIN_EPOCH_MS ? number * 1_000 : number) - nowMs
  }
  if (IMF_FIXDATE.test(value) || RFC850_DATE.test(value)) return untilMs(Date.parse(value), nowMs)
  // An asctime date means UTC but names no zone, so Date.parse alone would read it as local time.
  if (ASCTIME_DATE.test(value)) return untilMs(Date.parse(`${value} GMT`), nowMs)
  return null
}

function untilMs(dateMs: number, nowMs: number): number | null {
  return Number.isNaN(dateMs) ? null : dateMs - nowMs
}
