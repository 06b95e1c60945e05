// What the page says of refusals and bad ends, also of those a newer server may know.
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

  it('has advice for a refusal of a newer server', () => {
    const refusal = { code: 'TEAPOT', message: 'no tea', retryable: false, retryAfterMs: null }
    const { title, advice } = noticeOfError(new RefusedError(refusal as unknown as RefusalData))
    expect(title).toBe('Refused: no tea')
    expect(advice).toContain('Reload')
  })

  it('says what else went wrong', () => {
    expect(noticeOfError(new Error('broken')).title).toBe('That did not work: broken')
    expect(noticeOfError('thrown').title).toBe('That did not work: thrown')
  })
})

describe('noticeOfAbort', () => {
  it('raises no alarm over what was asked for', () => {
    const aborted = { type: 'aborted', message: 'over', retryable: false } as const
    expect(noticeOfAbort({ ...aborted, code: 'CANCELLED' }).tone).toBe('info')
    expect(noticeOfAbort({ ...aborted, code: 'INTERNAL' }).tone).toBe('bad')
    expect(noticeOfAbort({ ...aborted, code: 'TEAPOT' as AbortCode }).advice).toBe('Press Create to try again.')
  })
})

describe('isGone', () => {
  it('is true of archives that are no more, or never were', () => {
    const codes = ['GONE', 'NOT_FOUND', 'KEY_CONFLICT'] as const
    expect(codes.map((code) => isGone(refused(code)))).toEqual([true, true, false])
    expect(isGone(new Error('GONE'))).toBe(false)
  })
})
