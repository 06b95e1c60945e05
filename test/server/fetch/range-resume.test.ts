// When a partial response continues a body, and when it would join two different ones.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { continues, parseContentRange, strongValidator } from '../../../server/fetch/range-resume.ts'

const tagged = (etag?: string | null) => ({ etag: etag ?? undefined, lastModified: undefined, date: undefined })
const v1 = tagged('"v1"')

describe('strongValidator', () => {
  it.each(['"a"', '""', '"a-b.c/d"', '"\u00e9"', '"!"', '"\'"'])('takes %j', (etag) => {
    expect(strongValidator(tagged(etag))).toBe(etag)
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
    expect(strongValidator(tagged(etag))).toBeNull()
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

describe('a file without an ETag', () => {
  const changed = 'Sun, 06 Nov 1994 08:49:37 GMT'
  const sent = (date: string | undefined, etag?: string) => ({ etag, lastModified: changed, date })

  it('is known by its date, if it was a minute old when it was sent', () => {
    expect(strongValidator(sent('Sun, 06 Nov 1994 08:50:37 GMT'))).toBe(changed)
    expect(strongValidator(sent('Mon, 07 Nov 1994 08:49:37 GMT'))).toBe(changed)
  })

  it.each([
    ['was changed within the last minute', sent('Sun, 06 Nov 1994 08:50:36 GMT')],
    ['comes without a date', sent(undefined)],
    ['comes with a date that is none', sent('yesterday')],
    ['has a weak ETag besides', sent('Mon, 07 Nov 1994 08:49:37 GMT', 'W/"a"')],
    ['is dated in another form', { ...sent('Mon, 07 Nov 1994 08:49:37 GMT'), lastModified: '1994-11-06T08:49:37Z' }],
  ])('is not known by its date if it %s', (_, fields) => {
    expect(strongValidator(fields)).toBeNull()
  })

  it('goes on only under the same date, and without an ETag', () => {
    const received = { bytes: 40, validator: changed, sizeBytes: 100 }
    const range = { first: 40, last: 99, total: 100 }
    expect(continues(received, range, sent(undefined))).toBe(true)
    expect(continues(received, range, { ...sent(undefined), lastModified: 'Sun, 06 Nov 1994 08:49:38 GMT' })).toBe(
      false,
    )
    expect(continues(received, range, { ...sent(undefined), lastModified: undefined })).toBe(false)
    expect(continues(received, range, sent(undefined, '"v1"'))).toBe(false)
  })
})

describe('continues', () => {
  const received = { bytes: 40, validator: '"v1"', sizeBytes: 100 }
  const range = { first: 40, last: 99, total: 100 }

  it('is true for the rest of the same version, to its very end', () => {
    expect(continues(received, range, v1)).toBe(true)
    expect(continues({ ...received, sizeBytes: null }, range, v1)).toBe(true)
    expect(continues({ ...received, bytes: 99 }, { ...range, first: 99 }, v1)).toBe(true)
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
  ])('is false if the part %s', (_, part, etag) => {
    expect(continues(received, part, tagged(etag))).toBe(false)
  })
})

describe('of any header', () => {
  const unit = fc.constantFrom(...'bytes -/*=,0123456789W"aB\t\r\n')
  const texts = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit }))
  // Small numbers are frequent, so that equal ones occur.
  const size = fc.oneof(fc.nat({ max: 6 }), fc.nat({ max: 10 ** 15 - 1 }))

  it('strongValidator returns nothing, or the same single quoted tag, which cannot create a header', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          texts,
          texts.map((text) => `"${text}"`),
        ),
        (text) => {
          const etag = strongValidator(tagged(text))
          if (etag === null) return
          expect(etag).toBe(text)
          expect(etag).toMatch(/^"[^"\u0000-\u0020\u007f\u0100-\uffff]*"$/)
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('parseContentRange returns nothing, or a range within its total', () => {
    const near = fc.tuple(size, size, fc.option(size), texts).map(([first, last, total, end]) => {
      return `bytes ${first}-${last}/${total ?? '*'}${end.length > 5 ? '' : end}`
    })
    fc.assert(
      fc.property(fc.oneof(texts, near), (text) => {
        const range = parseContentRange(text)
        if (range === null) return
        const { first, last, total } = range
        expect([first, last, total ?? 0].every(Number.isSafeInteger)).toBe(true)
        expect(first >= 0 && first <= last && (total === null || last < total)).toBe(true)
        expect(text.trim().toLowerCase()).toMatch(/^bytes \d+-\d+\/(\d+|\*)$/)
      }),
      { numRuns: 2_000 },
    )
  })

  it('parseContentRange reads every valid range', () => {
    fc.assert(
      fc.property(fc.uniqueArray(size, { minLength: 3, maxLength: 3 }), (numbers) => {
        const [first, last, total] = numbers.sort((a, b) => a - b) as [number, number, number]
        expect(parseContentRange(`bytes ${first}-${last}/${total}`)).toEqual({ first, last, total })
        expect(parseContentRange(`bytes ${first}-${last}/*`)).toEqual({ first, last, total: null })
        expect(parseContentRange(`bytes ${last}-${first}/${total}`)).toBeNull()
        expect(parseContentRange(`bytes ${first}-${total}/${last}`)).toBeNull()
      }),
    )
  })

  it('continues accepts a part only if both together are one whole file of one version', () => {
    const small = fc.nat({ max: 3 })
    const etags = fc.constantFrom('"v1"', '"v2"')
    const received = fc.record({ bytes: small, validator: etags, sizeBytes: fc.option(small) })
    const part = fc.record({ first: small, last: small, total: fc.option(small) })
    let joined = 0
    const property = fc.property(received, fc.option(part), fc.option(etags), (had, range, etag) => {
      const read = range && parseContentRange(`bytes ${range.first}-${range.last}/${range.total ?? '*'}`)
      if (!continues(had, read, tagged(etag))) return
      joined += 1
      const whole = had.bytes + read!.last - read!.first + 1
      expect({ whole, etag, from: read!.first }).toEqual({ whole: read!.total, etag: had.validator, from: had.bytes })
      if (had.sizeBytes !== null) expect(whole).toBe(had.sizeBytes)
    })
    fc.assert(property, { numRuns: 30_000 })
    expect(joined).toBeGreaterThan(20)
  })

  it('continues accepts the rest of the same file, wherever it broke off', () => {
    fc.assert(
      fc.property(fc.uniqueArray(size, { minLength: 2, maxLength: 2 }), fc.boolean(), (numbers, isSizeKnown) => {
        const [bytes, total] = numbers.sort((a, b) => a - b) as [number, number]
        const received = { bytes, validator: '"v1"', sizeBytes: isSizeKnown ? total : null }
        expect(continues(received, parseContentRange(`bytes ${bytes}-${total - 1}/${total}`), v1)).toBe(true)
      }),
    )
  })
})
