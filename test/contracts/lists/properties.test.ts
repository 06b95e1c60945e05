// What holds for every list: it is read without an error, no line is lost, and the time it takes grows with its length.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_NAME_LENGTH, MAX_URL_LENGTH } from '#contracts/archive.ts'
import { type ParsedList, parseList } from '#contracts/lists/list.ts'

const lineEnds = ['\n', '\r\n', '\r'] as const
/** What decides how a list is read, in any order. */
const pieces = [
  ...'"\'<>()[]{}`“”„«»,;|.:#=&\t \0\u200b\ufffd*-_!?/\\',
  ...lineEnds,
  'https://a.example/1',
  'http://b.example/x_(y)',
  'ftp://c.example',
  'www.d.example/x',
  '://',
  'name.png',
  'words',
  'url,name',
  '<a href=',
  '</a>',
  '<!--',
  '&amp;',
  '  out=',
  '{"url":',
  '1. ',
] as const
const text = fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((parts) => parts.join(''))

const linesOf = ({ entries, ignored, bareHosts }: ParsedList) =>
  new Set([...entries, ...ignored, ...bareHosts].map(({ line }) => line))

describe('every list', () => {
  it('is read without an error, into what the contract allows, line after line', () => {
    const property = fc.property(fc.oneof(text, fc.string({ unit: 'binary' })), fc.boolean(), (list, assumeHttps) => {
      const parsed = parseList(list, { assumeHttps })
      const lineCount = list.split(/\r\n|\r|\n/).length
      for (const found of [parsed.entries, parsed.ignored, parsed.bareHosts]) {
        const numbers = found.map(({ line }) => line)
        expect(numbers).toEqual(numbers.toSorted((one, other) => one - other))
        expect(numbers.every((line) => line >= 1 && line <= lineCount)).toBe(true)
      }
      for (const { url, name } of parsed.entries) {
        expect(url).toMatch(/^https?:\/\//i)
        expect(url.length).toBeLessThanOrEqual(MAX_URL_LENGTH)
        if (name !== undefined) expect(name.length).toBeLessThanOrEqual(MAX_NAME_LENGTH)
      }
    })
    fc.assert(property, { numRuns: 3000 })
  })

  it('loses no line that holds letters', () => {
    // Tags, fences and options of aria2 are structure, which is not reported.
    const words = pieces.filter((piece) => !/[<`~\r\n]|out=/.test(piece))
    const line = fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: 12 }).map((parts) => parts.join(''))
    const lists = fc.tuple(fc.array(line, { maxLength: 12 }), fc.constantFrom(...lineEnds))
    const property = fc.property(lists, ([lines, lineEnd]) => {
      const parsed = parseList(lines.join(lineEnd))
      if (parsed.format !== 'lines') return
      const accounted = linesOf(parsed)
      const lost = lines.filter(
        (one, index) => /\p{L}/u.test(one) && !/^[\s\u200b]*#/.test(one) && !accounted.has(index + 1),
      )
      expect(lost).toEqual([])
    })
    fc.assert(property, { numRuns: 3000 })
  })

  it('gives back the URLs and names that were put into it, however they are written', () => {
    const url = fc.webUrl({ withQueryParameters: true, withFragments: true }).filter((one) => !/[.,;:!?)]$/.test(one))
    const name = fc.stringMatching(/^[a-z][a-z ]{0,8}[a-z]\.(?:png|txt)$/)
    const styles: readonly ((url: string, name: string) => string)[] = [
      (url, name) => `${url}\t${name}`,
      (url, name) => `${name}\t${url}`,
      (url, name) => `"${url}","${name}"`,
      (url, name) => `"${name}";"${url}"`,
      (url, name) => `<${url}>\t"${name}"`,
      (url, name) => `- [${name}](<${url}>)`,
    ]
    const row = fc.record({ url, name, style: fc.constantFrom(...styles) })
    const lists = fc.tuple(fc.array(row, { minLength: 1, maxLength: 10 }), fc.constantFrom(...lineEnds))
    const property = fc.property(lists, ([rows, lineEnd]) => {
      // A comment first, so that no row is taken for a header.
      const list = ['# list', ...rows.map(({ url, name, style }) => style(url, name))].join(lineEnd)
      const wanted = rows.map(({ url, name }, index) => ({ url, name, line: index + 2 }))
      expect(parseList(list).entries).toEqual(wanted)
      const json = JSON.stringify(rows, null, 1)
      expect(parseList(json).entries.map(({ url, name }) => ({ url, name }))).toEqual(
        rows.map(({ url, name }) => ({ url, name })),
      )
    })
    fc.assert(property, { numRuns: 2000 })
  })
})

describe('a list of 16 MiB', () => {
  const LENGTH = 16 * 1024 * 1024
  /** Each takes a second or two; a reading that is not linear takes minutes. */
  const BOUND_MS = 15_000
  const hostile: readonly [before: string, again: string][] = [
    ['', '"'],
    ['', '<'],
    ['', '['],
    ['', '(((([[[[{{{{'],
    ['', ','],
    ['', '- '],
    ['', '://'],
    ['', 'a.'],
    ['', '<a '],
    ['<html>', '<a href="x'],
    ['http://a/', '('],
    ['', '“http://a '],
    ['', '<http://a '],
    ['', '](http://a'],
    ['', '\0'],
    ['', '{"x":\n'],
    ['[', '{'],
    ['url,name\n"', '"x,\n'],
    ['', 'x\n'],
    ['', '\n'],
    [' out=\n', ' '],
    ['', 'http://a\n'],
  ]

  it.each(hostile)(
    'beginning with %j and going on with %j is read in seconds',
    { timeout: 60_000 },
    (before, again) => {
      const list = before + again.repeat(Math.ceil(LENGTH / again.length))
      const startedAt = performance.now()
      const { ignored, bareHosts } = parseList(list)
      expect(performance.now() - startedAt).toBeLessThan(BOUND_MS)
      expect(ignored.length + bareHosts.length).toBeLessThanOrEqual(2002)
      expect(ignored.every(({ text }) => text.length <= 120)).toBe(true)
    },
  )

  it('with too much to ignore says first that it was given up', () => {
    const { ignored, ignoredCount } = parseList('nonsense\n'.repeat(200_000))
    expect(ignoredCount).toBe(100_001)
    expect(ignored[0]).toMatchObject({ line: 100_001, reason: /nothing from here on was read/ })
  })
})
