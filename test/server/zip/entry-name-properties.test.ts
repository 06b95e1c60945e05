// Properties of an archive's names for any input, checked with Python's Unicode tables, too.
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { cleanEntryName, createNamer } from '../../../server/zip/entry-name.ts'

function namesOf(raws: readonly string[]): string[] {
  const namer = createNamer()
  return raws.map((raw, index) => namer.take(cleanEntryName(raw, index)))
}

const leafOf = (name: string) => name.slice(name.lastIndexOf('/') + 1)

/** Any code unit, any code point, harmful pieces, and similar ones, so that names often collide. */
const piece = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 4 }),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 4 }),
  fc.constantFrom(
    '/',
    '\\',
    '.',
    '..',
    ' ',
    ':',
    'C:',
    '\0',
    '\u202e',
    '\ud83d',
    '\ude00',
    '?',
    'CON',
    'nul',
    '.tar.gz',
  ),
  fc.constantFrom(
    'a',
    'A',
    'ß',
    'ẞ',
    'ss',
    'SS',
    'ſ',
    'K',
    '\u212a',
    'İ',
    'i\u0307',
    'ı',
    'I',
    'ﬁ',
    'fi',
    'ΐ',
    '\u03b9\u0308\u0301',
  ),
  fc.constantFrom(
    'e',
    'é',
    'e\u0301',
    'Å',
    '\u212b',
    ' (2)',
    ' (3)',
    '가',
    '\u1100\u1161',
    'ᾳ',
    'ΑΙ',
    'ŉ',
    'ʼn',
    'ǰ',
    'J\u030c',
  ),
  fc.constantFrom('€'.repeat(84), '😀'.repeat(62), 'a'.repeat(250), 'f/'.repeat(40), '\u0301'.repeat(120)),
)
const raw = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''))
const list = fc.array(raw, { minLength: 1, maxLength: 30 })

it('is relative, in NFC and well-formed, and its segments are short, not empty, not special, and have no forbidden character', () => {
  fc.assert(
    fc.property(list, (raws) => {
      for (const name of namesOf(raws)) {
        expect(name.isWellFormed()).toBe(true)
        expect(name).toBe(name.normalize('NFC'))
        expect(name).not.toMatch(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\ufeff<>:"|?*\\]/u)
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(1024)
        for (const segment of name.split('/')) {
          expect(Buffer.byteLength(segment)).toBeLessThanOrEqual(255)
          // No segment is "", "." or "..", or ends in what Windows cuts.
          expect(segment).toMatch(/[^. ]$/)
        }
      }
    }),
    { numRuns: 1_000 },
  )
})

it('does not depend on later entries of the list', () => {
  fc.assert(
    fc.property(list, fc.nat(30), (raws, count) => {
      expect(namesOf(raws.slice(0, count))).toEqual(namesOf(raws).slice(0, count))
    }),
  )
})

it('is unchanged if it was clean and still free', () => {
  fc.assert(
    fc.property(raw, (text) => {
      const name = cleanEntryName(text, 0)
      expect(cleanEntryName(name, 0)).toBe(name)
      expect(namesOf([name])).toEqual([name])
    }),
    { numRuns: 1_000 },
  )
})

it('keeps its extension, however long the name is and however often it occurs', () => {
  const extension = fc.stringMatching(/^(\.tar)?\.[a-zA-Z0-9]{1,16}$/)
  fc.assert(
    fc.property(fc.array(raw, { minLength: 1, maxLength: 10 }), extension, (stems, ending) => {
      for (const name of namesOf(stems.map((stem) => `${stem}x${ending}`))) {
        expect(leafOf(name).endsWith(ending)).toBe(true)
      }
    }),
    { numRuns: 500 },
  )
})

it('is cut between code points, and what is left is the beginning of the name', () => {
  const long = fc.string({ unit: fc.constantFrom('€', '😀', 'ß', 'a', '日'), minLength: 60, maxLength: 400 })
  fc.assert(
    fc.property(long, (stem) => {
      const [name] = namesOf([`${stem}.txt`])
      const kept = name!.slice(0, -'.txt'.length)
      expect(stem.startsWith(kept)).toBe(true)
      expect([...stem].slice(0, [...kept].length).join('')).toBe(kept)
      // It is not cut more than necessary: the next code point would not fit.
      const next = [...stem][[...kept].length]
      if (next !== undefined) expect(Buffer.byteLength(`${kept}${next}.txt`)).toBeGreaterThan(255)
    }),
    // An encoder that is asked for 251 bytes gives 250 here, although one more fits.
    {
      numRuns: 1_000,
      examples: [
        [
          '€a€€€aß😀😀a€ß😀€😀€€€€€€€€€€€😀€€a€€ß😀ßa€€😀😀€aa😀a€€ßa€😀€€€€ß€ßß€😀€€😀€€😀😀ß😀€€€aaaß€ß😀€😀€😀😀€a€😀a€aßaa😀😀😀ß',
        ],
      ],
    },
  )
})

/** Full case folding of each name and of its folders. JavaScript does not have it. */
const FOLD = `
import json, sys, unicodedata
fold = lambda text: unicodedata.normalize('NFC', unicodedata.normalize('NFC', text).casefold())
for names in json.load(sys.stdin):
    files = {}
    for name in names:
        if fold(name) in files: sys.exit(ascii([files[fold(name)], name]) + ' are alike')
        files[fold(name)] = name
    for name in names:
        parts = name.split('/')
        for depth in range(1, len(parts)):
            if fold('/'.join(parts[:depth])) in files: sys.exit(ascii(name) + ' lies below a file')
`

it('is unique after NFC and full case folding, and is not below a file', () => {
  const lists = fc.sample(list, { numRuns: 2_000, seed: 4 }).map(namesOf)
  expect(lists.flat().length).toBeGreaterThan(10_000)
  execFileSync('python3', ['-c', FOLD], { input: JSON.stringify(lists) })
})
