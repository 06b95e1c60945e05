// Which failures are tried again, and after which delay.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type EntryFailureCode, entryFailures } from '#contracts/failures.ts'
import { type AttemptFailure, askedWaitMs, nextDelayMs } from '../../../server/fetch/retry.ts'

const nowMs = Date.UTC(1994, 10, 6, 8, 49, 37)
const codes = Object.keys(entryFailures) as EntryFailureCode[]
const retried: EntryFailureCode[] = [
  'NAME_NOT_RESOLVED',
  'CONNECT_FAILED',
  'CONNECT_TIMEOUT',
  'HEADERS_TIMEOUT',
  'BODY_TOO_SLOW',
  'BODY_TRUNCATED',
  'SOURCE_CHANGED',
]

function delayMs(failure: AttemptFailure, attempt = 1, random = 0): number | 'stop' {
  return nextDelayMs(failure, attempt, { maxAttempts: 5, nowMs, random: () => random })
}

function delayAfter(retryAfter: string | null, attempt = 1): number | 'stop' {
  return delayMs({ code: 'HTTP_STATUS', httpStatus: 503, retryAfter }, attempt)
}

describe('nextDelayMs', () => {
  it.each(retried)('tries again after %s', (code) => {
    expect(delayMs({ code })).toBe(250)
  })

  it.each(codes.filter((code) => !retried.includes(code)))('stops after %s without a status', (code) => {
    expect(delayMs({ code })).toBe('stop')
  })

  it('stops after a failure by policy or limit, whatever the status was', () => {
    expect(delayMs({ code: 'ENTRY_TIMEOUT', httpStatus: 503, retryAfter: '1' })).toBe('stop')
  })

  it('tries again only after statuses that may be temporary', () => {
    const statuses = Array.from({ length: 1000 }, (_, status) => status)
    const again = statuses.filter((httpStatus) => delayMs({ code: 'HTTP_STATUS', httpStatus }) !== 'stop')
    const serverErrors = Array.from({ length: 100 }, (_, n) => 500 + n).filter(
      (status) => status !== 501 && status !== 505,
    )
    expect(again).toEqual([408, 425, 429, ...serverErrors])
  })

  it('backs off four times longer each time, to 30 s at most', () => {
    const delays = [1, 2, 3, 4].map((attempt) => delayMs({ code: 'CONNECT_FAILED' }, attempt))
    expect(delays).toEqual([250, 1000, 4000, 16_000])
    const late = nextDelayMs({ code: 'CONNECT_FAILED' }, 400, { maxAttempts: 1000, nowMs, random: () => 0 })
    expect(late).toBe(30_000)
  })

  it('adds up to half a backoff at random', () => {
    expect(delayMs({ code: 'CONNECT_FAILED' }, 1, 0.999)).toBeCloseTo(374.875)
    expect(delayMs({ code: 'CONNECT_FAILED' }, 4, 1)).toBe(24_000)
    const delays = [1, 2, 3].map(() => nextDelayMs({ code: 'CONNECT_FAILED' }, 1, { maxAttempts: 2, nowMs }))
    expect(new Set(delays).size).toBeGreaterThan(1)
  })

  it('stops when the last attempt failed', () => {
    const delays = [3, 4, 5, 6].map((attempt) => delayMs({ code: 'CONNECT_FAILED' }, attempt))
    expect(delays).toEqual([4000, 16_000, 'stop', 'stop'])
    expect(nextDelayMs({ code: 'CONNECT_FAILED' }, 1, { maxAttempts: 1, nowMs })).toBe('stop')
  })

  it.each([
    ['2', 2000],
    [' 2 ', 2000],
    ['30', 30_000],
    ['31', 31_000],
    ['1.5', 1500],
    ['9'.repeat(400), Number.POSITIVE_INFINITY],
    ['0', 250],
    ['Sun, 06 Nov 1994 08:49:47 GMT', 10_000],
    ['Sunday, 06-Nov-94 08:49:47 GMT', 10_000],
    ['Sun Nov  6 08:49:47 1994', 10_000],
    ['Sun Nov 06 08:49:47 1994', 10_000],
    ['Mon, 07 Nov 1994 08:49:37 GMT', 86_400_000],
    ['Sun, 06 Nov 1994 08:49:27 GMT', 250],
  ])('waits as long as Retry-After %j asks, and at least the backoff', (header, delay) => {
    expect(delayAfter(header)).toBe(delay)
  })

  it.each([
    '',
    '-5',
    '+5',
    '1e1',
    '0x10',
    '5 s',
    '5, 6',
    '٥',
    'soon',
    'NaN',
    'Infinity',
    'Sun, 99 Nov 1994 08:49:47 GMT',
    'Sun, 06 Nov 1994 08:49:47 EST',
    'Sun, 06 Nov 1994 08:49:47',
    '1994-11-06T08:49:47Z',
    'Fri, 31 Dec 9999 99:99:99 GMT',
    null,
  ])('ignores Retry-After %j', (header) => {
    expect(delayAfter(header)).toBe(250)
  })

  it('reads an asctime date as UTC in every time zone', () => {
    const before = process.env.TZ
    process.env.TZ = 'America/New_York'
    try {
      expect(new Date(nowMs).getTimezoneOffset()).toBe(300)
      expect(delayAfter('Sun Nov  6 08:49:47 1994')).toBe(10_000)
    } finally {
      if (before === undefined) delete process.env.TZ
      else process.env.TZ = before
    }
  })

  it('never waits less than the backoff, even if Retry-After does', () => {
    expect(delayAfter('1', 3)).toBe(4000)
  })

  it('uses Retry-After only if there was an answer', () => {
    expect(delayMs({ code: 'BODY_TRUNCATED', httpStatus: 200, retryAfter: '9' })).toBe(250)
  })

  it('reads a time since 1970, in seconds or milliseconds', () => {
    const at = Date.UTC(2026, 10, 25)
    const failed = (retryAfter: string) => ({ code: 'HTTP_STATUS', httpStatus: 429, retryAfter }) as const
    expect(askedWaitMs(failed(String(at / 1000 + 60)), at)).toBe(60_000)
    expect(askedWaitMs(failed(String(at + 60_000)), at)).toBe(60_000)
    expect(askedWaitMs(failed(String(at / 1000 - 60)), at)).toBe(0)
  })

  it.each([202, 403, 404, 503])('asks again after a %i that says when', (httpStatus) => {
    expect(delayMs({ code: 'HTTP_STATUS', httpStatus, retryAfter: '7' })).toBe(7000)
    expect(delayMs({ code: 'HTTP_STATUS', httpStatus, retryAfter: '7' }, 5)).toBe('stop')
  })

  it('waits at least the backoff whatever the origin says', () => {
    const failure = fc.record({
      code: fc.constantFrom(...codes),
      httpStatus: fc.oneof(fc.integer(), fc.constantFrom(429, 503)),
      retryAfter: fc.oneof(
        fc.string(),
        fc.integer().map(String),
        fc.date({ noInvalidDate: true }).map((d) => d.toUTCString()),
      ),
    })
    fc.assert(
      fc.property(failure, fc.integer({ min: 1, max: 9 }), (failed, attempt) => {
        const delay = nextDelayMs(failed, attempt, { maxAttempts: 9, nowMs })
        if (delay === 'stop') return
        expect(delay).toBeGreaterThanOrEqual(Math.min(250 * 4 ** (attempt - 1), 30_000))
      }),
    )
  })
})
