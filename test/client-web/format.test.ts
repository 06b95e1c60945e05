// Numbers for people, at the limits between units.
import { describe, expect, it } from 'vitest'
import { count, formatDuration, formatTimeLeft, timeLeftMs } from '../../client-web/format.ts'
import type { Progress } from '../../contracts/events.ts'

const progress: Progress = {
  phase: 'fetching',
  queuePosition: null,
  sealedEntries: 2,
  failedEntries: 0,
  totalEntries: 4,
  receivedBytes: 2_500,
  expectedBytes: 4_000,
  readableBytes: 2_000,
  waiting: [],
  bytesPerSecond: 500,
  active: [
    { index: 2, receivedBytes: 250, sizeBytes: 1_000, attempt: 1 },
    { index: 3, receivedBytes: 250, sizeBytes: 1_000, attempt: 1 },
  ],
}

describe('formatDuration', () => {
  it.each([
    [0, '0.0 s'],
    [9_949, '9.9 s'],
    [9_950, '10 s'],
    [59_499, '59 s'],
    [59_500, '1 min'],
    [185_000, '3 min 5 s'],
    [3_599_499, '59 min 59 s'],
    [3_599_500, '1 h'],
    [4_800_000, '1 h 20 min'],
  ])('%i ms is %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })
})

describe('timeLeftMs', () => {
  it('uses the sizes that origins have announced', () => {
    expect(timeLeftMs(progress)).toBe(3_000)
  })

  it('assumes that entries which have not begun are as large as the average of the others', () => {
    expect(timeLeftMs({ ...progress, totalEntries: 6 })).toBe(7_000)
  })

  it('expects nothing of failed entries', () => {
    expect(timeLeftMs({ ...progress, totalEntries: 6, failedEntries: 2 })).toBe(3_000)
  })

  it('is never negative, even if more came than was announced', () => {
    expect(timeLeftMs({ ...progress, receivedBytes: 5_000 })).toBe(0)
  })

  it.each<[string, Partial<Progress>]>([
    ['while it is queued', { phase: 'queued' }],
    ['while it is packed', { phase: 'packing' }],
    ['before a size is known', { expectedBytes: null }],
    ['when nothing moves', { bytesPerSecond: 0 }],
    ['before an entry is begun', { sealedEntries: 0, active: [] }],
  ])('says nothing %s', (_, part) => {
    expect(timeLeftMs({ ...progress, ...part })).toBeNull()
  })
})

describe('formatTimeLeft', () => {
  it.each([
    [0, 'about 1 s'],
    [1_001, 'about 2 s'],
    [59_001, 'about 1 min'],
    [61_000, 'about 1 min 30 s'],
    [599_000, 'about 10 min'],
    [601_000, 'about 11 min'],
    [7_000_000, 'about 1 h 57 min'],
  ])('%i ms left is %s', (ms, text) => {
    expect(formatTimeLeft(ms)).toBe(text)
  })
})

describe('count', () => {
  it('uses the singular and the plural', () => {
    expect([0, 1, 2, 12_345].map((number) => count(number, 'entry', 'entries'))).toEqual([
      '0 entries',
      '1 entry',
      '2 entries',
      '12,345 entries',
    ])
  })
})
