// The cookies of one chain of redirects: which are kept, to whom they are sent, and that there are never too many.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CookieJar } from '../../../server/fetch/cookies.ts'

const NOW_MS = Date.UTC(2026, 0, 2)

/** What is sent to `to` after `from` has set all of `fields`, in their order. */
function sent(from: string, fields: string | string[], to = from, laterMs = 0): string | null {
  const jar = new CookieJar()
  jar.take(fields, new URL(from), NOW_MS)
  return jar.fieldFor(new URL(to), NOW_MS + laterMs)
}

describe('a cookie', () => {
  it.each<[field: string | string[], expected: string | null]>([
    ['a=1', 'a=1'],
    ['a=1; HttpOnly; SameSite=Strict; Partitioned', 'a=1'],
    [['a=1', 'b=2'], 'a=1; b=2'],
    [' a = 1 ;', 'a=1'],
    ['a="x y"', 'a="x y"'],
    ['a=b=c', 'a=b=c'],
    ['a=', 'a='],
    ['alone', 'alone'],
    ['=alone', 'alone'],
    ['a=\xe4\xff', 'a=\xe4\xff'],
    ['a=x\ty', 'a=x\ty'],
    ['', null],
    ['=', null],
    ['; Path=/', null],
    ['a=1\r\nX-Injected: 1', null],
    ['a=\0', null],
    ['a=1; Path=\x7f', null],
    [['a=1', 'a=2'], 'a=2'],
    [['a=1', 'b=2', 'a=3'], 'a=3; b=2'],
    [['a=1; Path=/', 'a=2'], 'a=2; a=1'],
    [`a=${'x'.repeat(4_095)}`, `a=${'x'.repeat(4_095)}`],
    [`a=${'x'.repeat(4_096)}`, null],
  ])('%j is kept as %j', (field, expected) => {
    expect(sent('http://a.test/dir/page', field)).toBe(expected)
  })

  it.each<[field: string | string[], expected: string | null]>([
    ['a=1; Max-Age=60', 'a=1'],
    ['a=1; Max-Age=0', null],
    ['a=1; max-age=-5', null],
    ['a=1; Max-Age=soon', 'a=1'],
    ['a=1; Max-Age=', 'a=1'],
    ['a=1; Max-Age=0; Max-Age=9', 'a=1'],
    ['a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT', null],
    ['a=1; expires=Thu, 01-Jan-70 00:00:01 GMT', null],
    ['a=1; Expires=Fri, 02 Jan 2099 00:00:00 GMT', 'a=1'],
    ['a=1; Expires=nonsense', 'a=1'],
    ['a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=9', 'a=1'],
    ['a=1; Expires=Fri, 02 Jan 2099 00:00:00 GMT; Max-Age=0', null],
    [['a=1', 'a=; Max-Age=0'], null],
    [['a=1', 'a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT'], null],
    [['a=1', 'a=; Path=/; Max-Age=0'], 'a=1'],
    [['a=1', 'b=2', 'a=; Max-Age=0'], 'b=2'],
  ])('%j is over or not: %j', (field, expected) => {
    expect(sent('http://a.test/dir/page', field)).toBe(expected)
  })

  it('is over when its time is, and not before', () => {
    expect(sent('http://a.test/', 'a=1; Max-Age=9', undefined, 8_999)).toBe('a=1')
    expect(sent('http://a.test/', 'a=1; Max-Age=9', undefined, 9_000)).toBeNull()
  })

  it.each<[field: string, from: string, to: string, isSent: boolean]>([
    // The host, and no other one.
    ['a=1', 'http://a.test/', 'http://a.test:8080/', true],
    ['a=1', 'http://a.test/', 'https://a.test/', true],
    ['a=1', 'http://a.test/', 'http://www.a.test/', false],
    ['a=1', 'http://www.a.test/', 'http://a.test/', false],
    ['a=1', 'http://a.test/', 'http://a.test.evil.test/', false],
    ['a=1', 'http://a.test/', 'http://a.test./', false],
    ['a=1', 'http://127.0.0.1/', 'http://127.0.0.1/', true],
    ['a=1', 'http://127.0.0.1/', 'http://127.0.0.2/', false],
    ['a=1', 'http://[::1]/', 'http://[::1]/', true],
    // A domain makes it no wider.
    ['a=1; Domain=a.test', 'http://a.test/', 'http://a.test/', true],
    ['a=1; Domain=.A.Test', 'http://www.a.test/', 'http://www.a.test/', true],
    ['a=1; Domain=a.test', 'http://www.a.test/', 'http://a.test/', false],
    ['a=1; Domain=a.test', 'http://a.test/', 'http://www.a.test/', false],
    ['a=1; Domain=', 'http://a.test/', 'http://a.test/', true],
    ['a=1; Domain=b.test', 'http://a.test/', 'http://a.test/', false],
    ['a=1; Domain=b.test', 'http://a.test/', 'http://b.test/', false],
    ['a=1; Domain=www.a.test', 'http://a.test/', 'http://www.a.test/', false],
    ['a=1; Domain=test', 'http://a.test/', 'http://a.test/', false],
    ['a=1; Domain=.test.', 'http://a.test/', 'http://a.test/', false],
    ['a=1; Domain=localhost', 'http://localhost/', 'http://localhost/', true],
    ['a=1; Domain=127.0.0.1', 'http://127.0.0.1/', 'http://127.0.0.1/', true],
    ['a=1; Domain=0.0.1', 'http://127.0.0.1/', 'http://127.0.0.1/', false],
    // The path.
    ['a=1', 'http://a.test/x/y', 'http://a.test/x/z', true],
    ['a=1', 'http://a.test/x/y', 'http://a.test/x', true],
    ['a=1', 'http://a.test/x/y', 'http://a.test/', false],
    ['a=1', 'http://a.test/x/y', 'http://a.test/xy', false],
    ['a=1', 'http://a.test/x', 'http://a.test/y', true],
    ['a=1; Path=/', 'http://a.test/x/y', 'http://a.test/', true],
    ['a=1; Path=/p', 'http://a.test/x', 'http://a.test/p/q?r', true],
    ['a=1; Path=/p/', 'http://a.test/x', 'http://a.test/p', false],
    ['a=1; Path=p', 'http://a.test/x/y', 'http://a.test/x/', true],
    // TLS.
    ['a=1; Secure', 'https://a.test/', 'https://a.test/', true],
    ['a=1; Secure', 'https://a.test/', 'http://a.test/', false],
    ['a=1; Secure', 'http://a.test/', 'http://a.test/', false],
    ['a=1; Secure', 'http://a.test/', 'https://a.test/', false],
    // Prefixes.
    ['__Secure-a=1; Secure', 'https://a.test/', 'https://a.test/', true],
    ['__Secure-a=1', 'https://a.test/', 'https://a.test/', false],
    ['__Secure-a=1; Secure', 'http://a.test/', 'https://a.test/', false],
    ['__Host-a=1; Secure; Path=/', 'https://a.test/x/y', 'https://a.test/', true],
    ['__Host-a=1; Secure', 'https://a.test/', 'https://a.test/', false],
    ['__Host-a=1; Path=/', 'https://a.test/', 'https://a.test/', false],
    ['__Host-a=1; Secure; Path=/; Domain=a.test', 'https://a.test/', 'https://a.test/', false],
    ['__host-a=1', 'https://a.test/', 'https://a.test/', false],
    ['=__Host-a=1; Secure; Path=/', 'https://a.test/', 'https://a.test/', false],
    ['__Secure-a; Secure', 'https://a.test/', 'https://a.test/', false],
  ])('%j of %s for %s is sent: %j', (field, from, to, isSent) => {
    expect(sent(from, field, to)).toBe(isSent ? field.split(';', 1)[0]!.trim() : null)
  })

  it('that was set over TLS is not replaced or removed without it', () => {
    for (const field of ['a=2', 'a=2; Path=/other', 'a=; Max-Age=0']) {
      const jar = new CookieJar()
      jar.take('a=1; Secure; Path=/', new URL('https://a.test/'), NOW_MS)
      jar.take(field, new URL('http://a.test/'), NOW_MS)
      expect(jar.fieldFor(new URL('https://a.test/other'), NOW_MS)).toBe('a=1')
    }
  })

  it('with the longest path comes first', () => {
    expect(sent('http://a.test/x/y/z', ['a=1; Path=/', 'b=2; Path=/x/y', 'c=3; Path=/x'])).toBe('b=2; c=3; a=1')
  })
})

describe('a jar', () => {
  it('keeps the last fifty', () => {
    const many = Array.from({ length: 1_000 }, (_, n) => `c${n}=1`)
    expect(sent('http://a.test/', many)).toBe(many.slice(-50).join('; '))
  })

  it('keeps no more than 16 KiB, the last of them', () => {
    const large = Array.from({ length: 10 }, (_, n) => `c${n}=${'x'.repeat(3_000)}`)
    expect(sent('http://a.test/', large)).toBe(large.slice(-5).join('; '))
    const byHost = new CookieJar()
    for (let n = 0; n < 1_000; n++) byHost.take(`a=${'x'.repeat(4_000)}`, new URL(`http://h${n}.test/`), NOW_MS)
    const kept = Array.from({ length: 1_000 }, (_, n) => byHost.fieldFor(new URL(`http://h${n}.test/`), NOW_MS))
    expect(kept.filter((field) => field !== null)).toHaveLength(4)
  })

  it('makes of any fields a field that is one line, or none', () => {
    const pieces = fc.constantFrom(
      ...['a', '=', ';', ' ', '1', 'Path=/', 'Secure', 'Max-Age=', '-', 'Domain=', 'a.test', '__Host-', '"', ','],
      ...['\r', '\n', '\0', '\t', '\x7f', '\xff', '\u2028'],
    )
    const field = fc.oneof(
      fc.array(pieces, { maxLength: 20 }).map((parts) => parts.join('')),
      fc.string({ unit: 'binary', maxLength: 50 }),
    )
    fc.assert(
      fc.property(fc.array(field, { maxLength: 5 }), (fields) => {
        for (const url of ['http://a.test/', 'https://a.test/x/y', 'http://127.0.0.1/']) {
          const value = sent(url, fields)
          if (value === null) continue
          expect(value).not.toMatch(/[\0-\x08\x0a-\x1f\x7f]/)
          expect(value.length).toBeLessThanOrEqual(16 * 1024)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})
