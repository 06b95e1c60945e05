// When a partial response continues a body, and when it would splice two.
import { describe, expect, it } from 'vitest'
import { continues, parseContentRange, strongEtag } from '../../../server/fetch/partial.ts'

describe('strongEtag', () => {
  it.each(['"a"', '""', '"a-b.c/d"', '"\u00e9"', '"!"', '"\'"'])('takes %j', (etag) => {
    expect(strongEtag(etag)).toBe(etag)
  })

  it.each([
    undefined,
    '',
    'a',
    'W/"a"',
    'w/"a"',
    '"a',
    'a"',
    '"a"b"',
    '"a b"',
    '"\u0100"',
    '"\u007f"',
    ' "a"',
    '"a", "b"',
  ])('does not take %j', (etag) => {
    expect(strongEtag(etag)).toBeNull()
  })
})

describe('parseContentRange', () => {
  it.each([
    ['bytes 0-0/1', { first: 0, last: 0, total: 1 }],
    ['bytes 5-9/10', { first: 5, last: 9, total: 10 }],
    ['BYTES 5-9/*', { first: 5, last: 9, total: null }],
    [' bytes 5-9/10 ', { first: 5, last: 9, total: 10 }],
  ])('reads %j', (text, range) => {
    expect(parseContentRange(text)).toEqual(range)
  })

  it.each([
    undefined,
    '',
    'bytes',
    'bytes */10',
    'bytes 5-/10',
    'bytes -5/10',
    'bytes 9-5/10',
    'bytes 5-10/10',
    'bytes 5-9',
    'bytes=5-9/10',
    'bytes 5-9/10, 11-12/13',
    'items 5-9/10',
    'bytes 0x5-9/10',
    'bytes 5-9/1e3',
    `bytes 0-9/${'9'.repeat(16)}`,
  ])('reads nothing in %j', (text) => {
    expect(parseContentRange(text)).toBeNull()
  })
})

describe('continues', () => {
  const received = { bytes: 40, etag: '"v1"', sizeBytes: 100 }
  const range = { first: 40, last: 99, total: 100 }

  it('is true for the rest, to the very end, of the same version', () => {
    expect(continues(received, range, '"v1"')).toBe(true)
    expect(continues({ ...received, sizeBytes: null }, range, '"v1"')).toBe(true)
    expect(continues({ ...received, bytes: 99 }, { ...range, first: 99 }, '"v1"')).toBe(true)
  })

  it.each([
    ['says no range', null, '"v1"'],
    ['starts one earlier', { ...range, first: 39 }, '"v1"'],
    ['starts one later', { ...range, first: 41 }, '"v1"'],
    ['ends one earlier', { ...range, last: 98 }, '"v1"'],
    ['is of a longer file', { ...range, last: 100, total: 101 }, '"v1"'],
    ['is of a shorter file', { ...range, last: 98, total: 99 }, '"v1"'],
    ['does not say of how many', { ...range, total: null }, '"v1"'],
    ['is of another version', range, '"v2"'],
    ['is of no version', range, null],
  ])('is false where the part %s', (_, part, etag) => {
    expect(continues(received, part, etag)).toBe(false)
  })
})
