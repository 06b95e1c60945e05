// What holds of the names of an archive whatever comes in, with Python's Unicode tables as a second witness.
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { cleanEntryName, createNamer } from '../../../server/zip/entry-name.ts'

function namesOf(raws: readonly string[]): string[] {
  const namer = createNamer()
  return raws.map((raw, index) => namer.take(cleanEntryName(raw, index)))
}

const leafOf = (name: string) => name.slice(name.lastIndexOf('/') + 1)

/** Any code unit, any code point, what is harmful, and what is alike, so that names meet often. */
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

it('is relative, NFC, well-formed, of short segments none of which is empty, special, or holds what none may', () => {
  fc.assert(
    fc.property(list, (raws) => {
      for (const name of namesOf(raws)) {
        expect(name.isWellFormed()).toBe(true)
        expect(name).toBe(name.normalize('NFC'))
        expect(name).not.toMatch(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\ufeff<>:"|?*\\]/u)
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(1024)
        for (const segment of name.split('/')) {
          expect(Buffer.byteLength(segment)).toBeLessThanOrEqual(255)
          // Neither "", "." nor "..", nor what Windows would cut.
          expect(segment).toMatch(/[^. ]$/)
        }
      }
    }),
    { numRuns: 1_000 },
  )
})

it('is in the order of the list: what stands further down changes no name above it', () => {
  fc.assert(
    fc.property(list, fc.nat(30), (raws, count) => {
      expect(namesOf(raws.slice(0, count))).toEqual(namesOf(raws).slice(0, count))
    }),
  )
})

it('is a clean name already, where it was one and nobody had it', () => {
  fc.assert(
    fc.property(raw, (text) => {
      const name = cleanEntryName(text, 0)
      expect(cleanEntryName(name, 0)).toBe(name)
      expect(namesOf([name])).toEqual([name])
    }),
    { numRuns: 1_000 },
  )
})

it('keeps its extension, however long it is and however often it is there', () => {
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

it('is cut between code points: what is left is a beginning of what was there', () => {
  const long = fc.string({ unit: fc.constantFrom('€', '😀', 'ß', 'a', '日'), minLength: 60, maxLength: 400 })
  fc.assert(
    fc.property(long, (stem) => {
      const [name] = namesOf([`${stem}.txt`])
      const kept = name!.slice(0, -'.txt'.length)
      expect(stem.startsWith(kept)).toBe(true)
      expect([...stem].slice(0, [...kept].length).join('')).toBe(kept)
      // Not cut more than it had to be: the next code point would have been too much.
      const next = [...stem][[...kept].length]
      if (next !== undefined) expect(Buffer.byteLength(`${kept}${next}.txt`)).toBeGreaterThan(255)
    }),
    // Where an encoder that is asked for 251 bytes gives 250, though one more fits.
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

/** Full case folding, which JavaScript does not have; also of each folder that a name stands in. */
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

it('is unique after NFC and the full case folding that Python knows, and below no file', () => {
  const lists = fc.sample(list, { numRuns: 2_000, seed: 4 }).map(namesOf)
  expect(lists.flat().length).toBeGreaterThan(10_000)
  execFileSync('python3', ['-c', FOLD], { input: JSON.stringify(lists) })
})
