// Conditional and range headers, RFC 9110 sections 13 and 14.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  FOLLOW,
  followFrom,
  ifMatchHolds,
  ifNoneMatchHits,
  ifRangeHolds,
  selectRange,
} from '../../../server/http/range.ts'

describe('selectRange of 100 bytes', () => {
  it.each([
    ['bytes=0-', { first: 0, last: 99 }],
    ['bytes=0-0', { first: 0, last: 0 }],
    ['bytes=99-', { first: 99, last: 99 }],
    ['bytes=10-19', { first: 10, last: 19 }],
    ['bytes=90-99', { first: 90, last: 99 }],
    ['bytes=90-100', { first: 90, last: 99 }],
    ['bytes=90-99999999999999999999', { first: 90, last: 99 }],
    ['bytes=-1', { first: 99, last: 99 }],
    ['bytes=-100', { first: 0, last: 99 }],
    ['bytes=-101', { first: 0, last: 99 }],
    ['BYTES=1-2', { first: 1, last: 2 }],
    ['bytes=1-2 ', { first: 1, last: 2 }],
  ])('%s selects that part', (header, range) => {
    expect(selectRange(header, 100)).toEqual(range)
  })

  it.each(['bytes=100-', 'bytes=100-200', 'bytes=-0', 'bytes=99999999999999999999-'])(
    '%s is unsatisfiable',
    (header) => {
      expect(selectRange(header, 100)).toBe('unsatisfiable')
    },
  )

  it.each([
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=2-1',
    'bytes=1-2,3-4',
    'bytes=0-0,-1',
    'items=0-1',
    'bytes=0x0-1',
    'bytes=--1',
    'bytes=+1-2',
    'bytes 0-1',
    `bytes=${'0'.repeat(100)}-1`,
  ])('%s is ignored', (header) => {
    expect(selectRange(header, 100)).toBe('all')
  })

  it.each(['bytes=0-', 'bytes=0-0', 'bytes=-1'])('%s of nothing is unsatisfiable', (header) => {
    expect(selectRange(header, 0)).toBe('unsatisfiable')
  })
})

describe('followFrom', () => {
  it.each([
    [`bytes=0-${FOLLOW}`, 0],
    [`bytes=500-${FOLLOW}`, 500],
    ['bytes=500-9223372036854775807', 500],
  ])('%s follows from there', (header, first) => {
    expect(followFrom(header)).toBe(first)
  })

  it.each([
    undefined,
    '',
    'bytes=0-',
    'bytes=0-99',
    `bytes=0-${FOLLOW - 1}`,
    `bytes=-${FOLLOW}`,
    `bytes=0-${FOLLOW},1-2`,
  ])('%s does not follow', (header) => {
    expect(followFrom(header)).toBeNull()
  })
})

describe('of any header', () => {
  const size = fc.nat({ max: 2 ** 40 })
  const position = fc.oneof(fc.nat({ max: 20 }), size, fc.maxSafeNat(), fc.constantFrom(FOLLOW, FOLLOW - 1)).map(BigInt)
  const positions = fc.oneof(position, fc.bigInt({ min: 0n, max: 10n ** 25n }))
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom(...'bytes=-,0123456789 \t') }).map((text) => `bytes=${text}`),
    fc.tuple(positions, positions).map(([from, to]) => `bytes=${from}-${to}`),
  )

  it('selectRange returns everything, nothing, or an existing part', () => {
    fc.assert(
      fc.property(texts, fc.oneof(fc.nat({ max: 20 }), size), (header, sizeBytes) => {
        const range = selectRange(header, sizeBytes)
        if (typeof range === 'string') return
        const { first, last } = range
        expect(Number.isSafeInteger(first) && Number.isSafeInteger(last)).toBe(true)
        expect(first >= 0 && first <= last && last < sizeBytes).toBe(true)
      }),
      { numRuns: 3_000 },
    )
  })

  it('selectRange reads a range as RFC 9110 section 14.1.2 defines it', () => {
    fc.assert(
      fc.property(position, fc.option(position), fc.oneof(fc.nat({ max: 20 }), size), (from, to, sizeBytes) => {
        const end = BigInt(sizeBytes)
        const last = to === null || to >= end ? end - 1n : to
        const part = { first: Number(from), last: Number(last) }
        const expected = to !== null && to < from ? 'all' : from >= end ? 'unsatisfiable' : part
        expect(selectRange(`bytes=${from}-${to ?? ''}`, sizeBytes)).toEqual(expected)
        const ending = { first: Number(from > end ? 0n : end - from), last: sizeBytes - 1 }
        expect(selectRange(`bytes=-${from}`, sizeBytes)).toEqual(
          from === 0n || sizeBytes === 0 ? 'unsatisfiable' : ending,
        )
      }),
      { numRuns: 3_000 },
    )
  })

  it('followFrom follows only from the written position, and only if no end is meant', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          texts,
          fc.tuple(position, positions).map(([from, to]) => `bytes=${from}-${to}`),
        ),
        (header) => {
          const first = followFrom(header)
          const [, from = '', to = ''] = /^bytes=(\d+)-(\d+)$/i.exec(header) ?? []
          if (first !== null) {
            expect(BigInt(from)).toBe(BigInt(first))
            expect(BigInt(to) >= BigInt(FOLLOW)).toBe(true)
          } else if (from !== '' && from.length <= 15 && to.length <= 20) {
            expect(BigInt(to) < BigInt(FOLLOW)).toBe(true)
          }
        },
      ),
      { numRuns: 3_000 },
    )
  })
})

describe('validators against "a.1"', () => {
  const etag = '"a.1"'

  it.each([
    [undefined, true],
    ['"a.1"', true],
    [' "a.1" ', true],
    ['"a.2"', false],
    ['W/"a.1"', false],
    ['"a.1", "a.2"', false],
    ['*', false],
    ['', false],
    ['Thu, 02 Jan 2020 03:04:06 GMT', false],
  ])('If-Range %s: %s', (header, holds) => {
    expect(ifRangeHolds(header, etag)).toBe(holds)
  })

  it.each([
    [undefined, true],
    ['*', true],
    ['"a.1"', true],
    ['"x", "a.1"', true],
    ['W/"a.1"', false],
    ['"a.2"', false],
    ['', false],
    ['a.1', false],
  ])('If-Match %s: %s', (header, holds) => {
    expect(ifMatchHolds(header, etag)).toBe(holds)
  })

  it.each([
    [undefined, false],
    ['*', true],
    ['"a.1"', true],
    ['W/"a.1"', true],
    ['"x",W/"a.1"', true],
    ['"a.2"', false],
    ['', false],
    ['a.1', false],
  ])('If-None-Match %s: %s', (header, hits) => {
    expect(ifNoneMatchHits(header, etag)).toBe(hits)
  })
})
