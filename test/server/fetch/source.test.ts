// What counts as a source URL, where redirects may lead, and what of a URL may stand in a log.
import { describe, expect, it } from 'vitest'
import { MAX_URL_LENGTH } from '#contracts/archive.ts'
import { parseRedirect, parseSource, withoutQuery } from '../../../server/fetch/source.ts'

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
  ])('takes %.40j in its canonical form', (text, href) => {
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
  ])('refuses %.40j', (text) => {
    expect(parseSource(text)).toBeNull()
  })
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

  it.each(['ftp://a.test/', 'file:///x', 'http://u:p@b.test/', 'http://', padded(MAX_URL_LENGTH + 1)])(
    'does not follow %.40j',
    (location) => {
      expect(parseRedirect(location, from)).toBeNull()
    },
  )
})

it('withoutQuery leaves out what may be secret', () => {
  expect(withoutQuery(new URL('https://a.test:8443/p/q?token=secret#secret'))).toBe('https://a.test:8443/p/q')
})
