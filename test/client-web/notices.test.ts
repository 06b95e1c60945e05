// What the page says about refusals and aborts, including those that only a newer server knows.
import { describe, expect, it } from 'vitest'
import { isGone, noticeOfAbort, noticeOfError } from '../../client-web/notices.ts'
import { RefusedError } from '../../contracts/client.ts'
import { type AbortCode, Refusal, type RefusalCode, type RefusalData } from '../../contracts/failures.ts'

const refused = (code: RefusalCode) => new RefusedError(new Refusal(code).toData())

describe('noticeOfError', () => {
  it('quotes a refusal and says what to do', () => {
    expect(noticeOfError(refused('TOO_MANY_ENTRIES'))).toEqual({
      tone: 'bad',
      title: 'Refused: more entries than this server takes',
      advice: 'Split the list and make several archives.',
    })
  })

  it('has advice even for a refusal that only a newer server knows', () => {
    const refusal = { code: 'TEAPOT', message: 'no tea', retryable: false, retryAfterMs: null }
    const { title, advice } = noticeOfError(new RefusedError(refusal as unknown as RefusalData))
    expect(title).toBe('Refused: no tea')
    expect(advice).toContain('Reload')
  })

  it('explains other errors', () => {
    expect(noticeOfError(new Error('broken')).title).toBe('That did not work: broken')
    expect(noticeOfError('thrown').title).toBe('That did not work: thrown')
  })
})

describe('noticeOfAbort', () => {
  it('is not an alarm if the user cancelled', () => {
    const aborted = { type: 'aborted', message: 'over', retryable: false } as const
    expect(noticeOfAbort({ ...aborted, code: 'CANCELLED' }).tone).toBe('info')
    expect(noticeOfAbort({ ...aborted, code: 'INTERNAL' }).tone).toBe('bad')
    expect(noticeOfAbort({ ...aborted, code: 'TEAPOT' as AbortCode }).advice).toBe('Press Create to try again.')
  })
})

describe('isGone', () => {
  it('is true for archives that are gone or never existed', () => {
    const codes = ['GONE', 'NOT_FOUND', 'KEY_CONFLICT'] as const
    expect(codes.map((code) => isGone(refused(code)))).toEqual([true, true, false])
    expect(isGone(new Error('GONE'))).toBe(false)
  })
})
