// What counts as a source URL, where redirects may lead, and which part of a URL may be logged.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_URL_LENGTH } from '#contracts/archive.ts'
import { parseRedirect, parseSource, withoutQuery } from '../../../server/fetch/source.ts'
import { spelledAddresses } from '../../support/spellings.ts'

/** Pieces that mean something to a URL parser. They are joined at random to texts that look more or less like URLs. */
const pieces = [
  ...[
    'http',
    'https',
    'HTTPS',
    'ftp',
    'file',
    'javascript',
    'data',
    'blob:',
    'ws',
    ':',
    '/',
    '//',
    '\\\\',
    '\\',
    '@',
    '#',
    '?',
  ],
  ...[
    'a.test',
    'user',
    'user:pass',
    '127.0.0.1',
    '0x7f.1',
    '[::1]',
    '[',
    ']',
    '%',
    '%2e',
    '%00',
    '%0d%0a',
    '..',
    '.',
    ':80',
  ],
  ...[
    '\t',
    '\n',
    '\r',
    '\0',
    ' ',
    '\u007f',
    '\u0085',
    '\u2028',
    'ü',
    '①',
    '。',
    '\ud800',
    '\u00ad',
    '"',
    '<',
    '|',
    '^',
    '{',
  ],
]
const texts = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.webUrl({ withFragments: true, withQueryParameters: true }),
  fc.array(fc.constantFrom(...pieces), { maxLength: 12 }).map((parts) => parts.join('')),
  fc.array(fc.constantFrom(...pieces), { maxLength: 10 }).map((parts) => `http://${parts.join('')}`),
)

/** Checks a URL that may be requested: none of its bytes can end a line, and parsing it again changes nothing. */
function expectPlain(url: URL): void {
  expect(url.protocol).toMatch(/^https?:$/)
  expect(url.hostname).not.toBe('')
  expect(url.username + url.password).toBe('')
  expect(url.href).toMatch(/^[\x21-\x7e]+$/)
  expect(url.pathname).toMatch(/^\//)
  expect(new URL(url.href).href).toBe(url.href)
}

/** Text as an HTTP parser returns it, with one character for each byte of UTF-8. */
const received = (text: string) => Buffer.from(text).toString('latin1')

/** A host of 253 characters, the maximal length of a name. */
const MAX_HOST = `${'a23456789.'.repeat(25)}com`

const padded = (length: number) => 'http://a.test/'.padEnd(length, 'x')

describe('parseSource', () => {
  it.each([
    ['http://a.test', 'http://a.test/'],
    ['HTTPS://A.Test:443/x?y#z', 'https://a.test/x?y#z'],
    ['http://a.test:8080/ä b', 'http://a.test:8080/%C3%A4%20b'],
    ['http://0x7f.1/', 'http://127.0.0.1/'],
    ['http://bücher.test/', 'http://xn--bcher-kva.test/'],
    ['http://a.test\\b', 'http://a.test/b'],
    ['http:a.test', 'http://a.test/'],
    [' http://a.test/ ', 'http://a.test/'],
    [padded(MAX_URL_LENGTH), padded(MAX_URL_LENGTH)],
    [`http://${MAX_HOST}:8080/?${'a'.repeat(600)}`, `http://${MAX_HOST}:8080/?${'a'.repeat(600)}`],
  ])('accepts %.40j in its canonical form', (text, href) => {
    expect(parseSource(text)?.href).toBe(href)
  })

  it.each([
    '',
    ' ',
    'a.test',
    '/path',
    '//a.test/',
    'http://',
    'http:///',
    'http://a.test:65536/',
    'http://a b.test/',
    'http://[::1/',
    'ftp://a.test/',
    'file:///etc/passwd',
    'data:text/plain,x',
    'javascript:alert(1)',
    'blob:http://a.test/x',
    'ws://a.test/',
    'http://user@a.test/',
    'http://:pass@a.test/',
    'http://a.test/\n',
    'ht\ttp://a.test/',
    'http://a.test/\r\nHost: b.test',
    'http://a.test/\u0000',
    'http://a.test/\u007f',
    padded(MAX_URL_LENGTH + 1),
    `http://${'a.'.repeat(300)}test/`,
    `http:${'a.'.repeat(300)}test/`,
    `http:\\\\${'\u0315'.repeat(4_000)}/`,
    ` http:///${'\u0315'.repeat(4_000)}?`,
  ])('refuses %.40j', (text) => {
    expect(parseSource(text)).toBeNull()
  })
})

it('parseSource makes a URL with all these properties of any text, or nothing', () => {
  let taken = 0
  const property = fc.property(texts, (text) => {
    const url = parseSource(text)
    if (url === null) return
    taken += 1
    expectPlain(url)
    expect(text).not.toMatch(/[\u0000-\u001f\u007f]/)
    expect(parseSource(url.href)?.href).toBe(url.href)
  })
  fc.assert(property, { numRuns: 3_000 })
  expect(taken).toBeGreaterThan(300)
})

it('parseSource reads every spelling of an IPv4 address as that address', () => {
  fc.assert(
    fc.property(spelledAddresses, ({ address, spelling }) => {
      expect(parseSource(`http://${spelling}/`)?.hostname).toBe(address)
      expect(parseRedirect(received(`//${spelling}/`), new URL('http://a.test/'))?.hostname).toBe(address)
    }),
    { numRuns: 2_000 },
  )
})

describe('parseRedirect', () => {
  const from = new URL('https://a.test/folder/file?q#f')
  it.each([
    ['other', 'https://a.test/folder/other'],
    ['/root', 'https://a.test/root'],
    ['?x', 'https://a.test/folder/file?x'],
    ['//b.test/', 'https://b.test/'],
    ['http://b.test/', 'http://b.test/'],
    ['', 'https://a.test/folder/file?q'],
  ])('follows %j', (location, href) => {
    expect(parseRedirect(location, from)?.href).toBe(href)
  })

  it.each([
    ['/datei/안녕 ä.txt', 'https://a.test/datei/%EC%95%88%EB%85%95%20%C3%A4.txt'],
    ['안녕?ä=é b&%C3%A4#ü', 'https://a.test/folder/%EC%95%88%EB%85%95?%C3%A4=%C3%A9%20b&%C3%A4#%C3%BC'],
    ['?q=日本', 'https://a.test/folder/file?q=%E6%97%A5%E6%9C%AC'],
    ['//b.test/ä/../ö', 'https://b.test/%C3%B6'],
    ['http://münchen.test/ä', 'http://xn--mnchen-3ya.test/%C3%A4'],
    ['//MÜNCHEN.test:8080', 'https://xn--mnchen-3ya.test:8080/'],
    ['https:ä', 'https://a.test/folder/%C3%A4'],
    ['http:ä.test', 'http://xn--4ca.test/'],
    ['//１２７。０．０．1/', 'https://127.0.0.1/'],
    ['/\u0085', 'https://a.test/%C2%85'],
    ['/😀', 'https://a.test/%F0%9F%98%80'],
  ])('follows %j in UTF-8 as its bytes came', (location, href) => {
    expect(parseRedirect(received(location), from)?.href).toBe(href)
  })

  it.each([
    ['/\xe4\xff b', 'https://a.test/%E4%FF%20b'],
    ['/\x80\x9f\x85', 'https://a.test/%80%9F%85'],
    ['?\xe4=\xc3', 'https://a.test/folder/file?%E4=%C3'],
    ['//b.test\\\xe4', 'https://b.test/%E4'],
  ])('follows %j, which is not UTF-8, as its bytes came', (location, href) => {
    expect(parseRedirect(location, from)?.href).toBe(href)
  })

  it.each([
    '//b\xe4.test/',
    'http://\xff/',
    '//\xc3/',
    'http://\xed\xa0\x80.test/',
    '//\xc0\xaf127.0.0.1/',
    '//a\xc2\xa0b/',
  ])('does not follow %j, whose host is not a name in UTF-8', (location) => {
    expect(parseRedirect(location, from)).toBeNull()
  })

  it.each([
    ['a long folder', `${'a'.repeat(600)}/b`, `https://a.test/folder/${'a'.repeat(600)}/b`],
    ['a long root', `/${'a'.repeat(600)}`, `https://a.test/${'a'.repeat(600)}`],
    ['a long query', `?${'a:/'.repeat(300)}`, `https://a.test/folder/file?${'a:/'.repeat(300)}`],
  ])('follows %s, which is not a host', (_, location, href) => {
    expect(parseRedirect(location, from)?.href).toBe(href)
  })

  it.each([
    'ftp://a.test/',
    'file:///x',
    'http://u:p@b.test/',
    'http://',
    padded(MAX_URL_LENGTH + 1),
    `//${'\u0315'.repeat(4_000)}/`,
    `/\\${'\u0315'.repeat(4_000)}/`,
    `/\t/${'\u0315'.repeat(4_000)}/`,
    `http:${'\u0315'.repeat(4_000)}/`,
  ])('does not follow %.40j', (location) => {
    expect(parseRedirect(location, from)).toBeNull()
  })
})

it('parseRedirect makes a URL with all these properties of any location, or nothing', () => {
  const bases = fc.constantFrom('http://a.test/', 'https://a.test:8443/b/c?d#e', 'http://[::1]/x', 'http://127.0.0.1/')
  let taken = 0
  const property = fc.property(texts, bases, (location, base) => {
    const url = parseRedirect(location, new URL(base))
    if (url === null) return
    taken += 1
    expectPlain(url)
  })
  fc.assert(property, { numRuns: 3_000 })
  expect(taken).toBeGreaterThan(300)
})

it('parseRedirect does not let a path grow with every redirect', () => {
  let url: URL | null = new URL('http://a.test/')
  for (let hops = 0; hops < 100 && url !== null; hops++) url = parseRedirect(`${'\u4e2d'.repeat(2_000)}/x`, url)
  expect(url).toBeNull()
})

it('parseSource and parseRedirect are fast for any host', () => {
  const startedAt = performance.now()
  const from = new URL('http://a.test/')
  const marks = `${'\u0315'.repeat(4_000)}${'\u0316'.repeat(4_000)}`
  // Each would take about 20 ms if it were normalised.
  for (let round = 0; round < 250; round++) {
    for (const lead of ['http://', 'http:', 'https:\\', ' //', '///']) {
      parseSource(`${lead}${marks}/`)
      parseRedirect(`${lead}${marks}/`, from)
    }
  }
  expect(performance.now() - startedAt).toBeLessThan(2_000)
})

it('withoutQuery cuts a URL that is too long for a log', () => {
  expect(withoutQuery(new URL(padded(8_000)))).toHaveLength(2048)
})

it('withoutQuery leaves out parts that may be secret', () => {
  expect(withoutQuery(new URL('https://a.test:8443/p/q?token=secret#secret'))).toBe('https://a.test:8443/p/q')
})
