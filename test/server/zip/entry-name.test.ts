// Names in archives are safe on every system, and unique.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cleanEntryName, createNamer } from '../../../server/zip/entry-name.ts'

function clean(raw: string): string {
  return cleanEntryName(raw, 0)
}

function takeAll(...raw: string[]): string[] {
  const namer = createNamer()
  return raw.map((name, index) => namer.take(cleanEntryName(name, index)))
}

const euro = '€' // 3 bytes
const smile = '😀' // 4 bytes, a surrogate pair

describe('cleanEntryName', () => {
  it.each([
    ['a.txt', 'a.txt'],
    ['folder/a b.txt', 'folder/a b.txt'],
    ['.htaccess', '.htaccess'],
    ['日本語/ファイル.txt', '日本語/ファイル.txt'],
    ['👩‍👩‍👧.png', '👩‍👩‍👧.png'],
    // relative, without "..", "." or empty segments
    ['/etc/passwd', 'etc/passwd'],
    ['//host/a', 'host/a'],
    ['../../a', 'a'],
    ['a/../../../b', 'a/b'],
    ['./a/./b', 'a/b'],
    ['a//b/', 'a/b'],
    ['a/.../b', 'a/b'],
    ['.. /a', 'a'],
    ['.\u202e./a', 'a'],
    // backslash, drive letters, UNC
    ['a\\b', 'a/b'],
    ['..\\..\\a', 'a'],
    ['C:\\a', 'a'],
    ['c:/a', 'a'],
    ['/C:/a', 'a'],
    ['C:a.txt', 'a.txt'],
    ['C:D:a', 'D_a'],
    ['a/C:/b', 'a/C_/b'],
    ['\u0000C:\\a', 'a'],
    ['\\\\server\\share\\a\\b', 'a/b'],
    ['\\\\?\\C:\\a', 'a'],
    ['\\\\a', 'a'],
    ['\\a', 'a'],
    // nothing is left
    ['', 'file-0001'],
    ['/', 'file-0001'],
    ['..', 'file-0001'],
    ['C:', 'file-0001'],
    ['C:\\', 'file-0001'],
    [' . ', 'file-0001'],
    ['\u0000\u202e\ud800', 'file-0001'],
    // unseen characters
    ['a\u0000b\u001f\u007f\u0085c', 'abc'],
    ['a\r\nb\tc', 'abc'],
    // noncharacters, of which some file systems make an error
    ['a\uffffb.txt', 'a_b.txt'],
    ['\ufdd0\ufdef\ufffe/\u{1fffe}\u{10ffff}.txt', '___/__.txt'],
    ['\ufdcf\ufdf0\ufffd', '\ufdcf\ufdf0\ufffd'],
    ['gpj\u202e.exe', 'gpj.exe'],
    ['\u061c\u200e\u200f\u202a\u2066\u2069\u2028\u2029\ufeffa', 'a'],
    ['a\ud800b\udc00c', 'abc'],
    ['\udc00\ud800a', 'a'],
    ['\ud83d\u0000\ude00a', 'a'],
    // NFC, also of what a removed character held apart
    ['A\u030a', '\u00c5'],
    ['\u212b', '\u00c5'],
    ['e\u200f\u0301', '\u00e9'],
    // Windows
    ['<>:"|?*', '_______'],
    ['a.', 'a'],
    ['a. . .', 'a'],
    ['a /b. /c', 'a/b/c'],
    ['con', '_con'],
    ['CON.txt', '_CON.txt'],
    ['NUL.tar.gz', '_NUL.tar.gz'],
    ['nul .txt', '_nul .txt'],
    ['prn/aux', '_prn/_aux'],
    ['COM1', '_COM1'],
    ['com¹.log', '_com¹.log'],
    ['LPT³', '_LPT³'],
    ['lpt0', '_lpt0'],
    ['CONIN$', '_CONIN$'],
    ['conout$.x', '_conout$.x'],
    ['console', 'console'],
    ['COM10', 'COM10'],
    ['COM', 'COM'],
    ['CON_', 'CON_'],
    ['CON:', 'CON_'],
    ['icon', 'icon'],
  ])('turns %j into %j', (raw, cleaned) => {
    expect(clean(raw)).toBe(cleaned)
  })

  it('replaces an empty name by the number of its entry', () => {
    expect([0, 41, 65_535].map((index) => cleanEntryName('..', index))).toEqual([
      'file-0001',
      'file-0042',
      'file-65536',
    ])
  })

  it.each([
    ['255 bytes are left alone', `${'a'.repeat(251)}.txt`, `${'a'.repeat(251)}.txt`],
    ['256 bytes keep the extension', `${'a'.repeat(252)}.txt`, `${'a'.repeat(251)}.txt`],
    ['both parts of .tar.gz are kept', `${'a'.repeat(300)}.tar.gz`, `${'a'.repeat(248)}.tar.gz`],
    [
      'a long last part is no extension',
      `${'a'.repeat(200)}.${'b'.repeat(100)}`,
      `${'a'.repeat(200)}.${'b'.repeat(54)}`,
    ],
    ['code points stay whole', `${euro.repeat(90)}.txt`, `${euro.repeat(83)}.txt`],
    ['surrogate pairs stay whole', `${smile.repeat(80)}.txt`, `${smile.repeat(62)}.txt`],
    ['no dot or space is left at the end', `${'a'.repeat(254)}. ${'a'.repeat(99)}`, 'a'.repeat(254)],
    ['folders are cut as well', `${'a'.repeat(300)}/b`, `${'a'.repeat(255)}/b`],
    ['a device may come out', `CON${' '.repeat(300)}x`, '_CON'],
    ['a device prefix takes its byte', `CON.${'x'.repeat(251)}`, `_CON.${'x'.repeat(250)}`],
  ])('cuts segments: %s', (_what, raw, cleaned) => {
    expect(clean(raw)).toBe(cleaned)
    expect(Buffer.byteLength(cleaned)).toBeLessThanOrEqual(259)
  })

  it('leaves a name of 1024 bytes alone and drops the innermost folders of a longer one', () => {
    const folders = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(250))
    const fits = [...folders, 'e'.repeat(20)].join('/')
    expect(Buffer.byteLength(fits)).toBe(1024)
    expect(clean(fits)).toBe(fits)
    expect(clean(`${fits}e`)).toBe([...folders.slice(0, 3), 'e'.repeat(21)].join('/'))
  })

  it('drops folders below the 32nd', () => {
    const folders = Array.from({ length: 40 }, (_, index) => `f${index}`)
    expect(clean([...folders, 'leaf'].join('/'))).toBe([...folders.slice(0, 32), 'leaf'].join('/'))
  })

  it.each([
    ['dots', `a${'.'.repeat(1_000_000)}b`],
    ['spaces', `CON${' '.repeat(1_000_000)}b`],
    ['folders', 'a/'.repeat(500_000)],
    ['drives', 'C:'.repeat(500_000)],
    ['combining marks', `a${'\u0301'.repeat(100_000)}`],
    // NFC sorts marks in quadratic time, which would be minutes for this many.
    ['marks out of order', `a${'\u0315'.repeat(200_000)}${'\u0316'.repeat(200_000)}`],
    ['marks that become two', `a${'\u0344'.repeat(200_000)}`],
    ['marks between what is not seen', `a${'\u0315\u200e'.repeat(100_000)}${'\u0316\u200e'.repeat(100_000)}`],
  ])('cleans a name of very many %s in no time', (_what, raw) => {
    const startedAt = performance.now()
    clean(raw)
    expect(performance.now() - startedAt).toBeLessThan(1000)
  })
})

describe('cleanEntryName, of a name that is longer than can be asked for', () => {
  it('keeps its first folders and its extension', () => {
    const name = clean(`outer/inner/${'x/'.repeat(100_000)}${'\u4e2d'.repeat(10_000)}.tar.gz`)
    expect(name).toMatch(/^outer\/inner\/x\//)
    expect(name).toMatch(/\u4e2d\.tar\.gz$/)
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(1024)
  })

  it('is not cut inside a character', () => {
    for (const before of ['', 'a']) expect(clean(`${before}${'\u{1f600}'.repeat(5_000)}.txt`)).not.toMatch(/\p{Cs}/u)
  })
})

describe('cleanEntryName, of marks', () => {
  it('keeps as many as any language uses, and does not change when it is cleaned again', () => {
    const vietnamese = 'Tie\u0302\u0301ng Vie\u0323\u0302t'
    expect(clean(vietnamese)).toBe(vietnamese.normalize('NFC'))
    const many = `o${'\u0301\u0316'.repeat(15)}`
    expect(clean(many)).toBe(many.normalize('NFC'))
    for (const mark of ['\u0301', '\u0344', '\u{1d165}', '\u0f73']) {
      const name = clean(`q${mark.repeat(100)}y`)
      expect(name).toMatch(/^q\p{M}{1,30}y$/u)
      expect(name).toBe(name.normalize('NFC'))
      expect(clean(name)).toBe(name)
    }
  })
})

describe('createNamer', () => {
  it.each([
    ['equal names', ['a.txt', 'a.txt', 'a.txt'], ['a.txt', 'a (2).txt', 'a (3).txt']],
    ['names without an extension', ['a', 'a'], ['a', 'a (2)']],
    ['.tar.gz', ['a.tar.gz', 'a.tar.gz'], ['a.tar.gz', 'a (2).tar.gz']],
    ['a dot before a space', ['Mr. Smith', 'Mr. Smith'], ['Mr. Smith', 'Mr. Smith (2)']],
    ['names that start with a dot', ['.env', '.env'], ['.env', '.env (2)']],
    ['ASCII case', ['a.txt', 'A.TXT'], ['a.txt', 'A (2).TXT']],
    ['ß, ẞ and ss', ['ß', 'ẞ', 'ss', 'SS'], ['ß', 'ẞ (2)', 'ss (3)', 'SS (4)']],
    ['ſ and s', ['ſ', 's'], ['ſ', 's (2)']],
    ['the sigmas', ['ΑΣ', 'ας', 'ασ'], ['ΑΣ', 'ας (2)', 'ασ (3)']],
    ['the Kelvin sign and k', ['\u212a', 'k'], ['K', 'k (2)']],
    ['composed and decomposed', ['\u00c5', 'A\u030a', 'a\u030a', '\u212b'], ['Å', 'Å (2)', 'å (3)', 'Å (4)']],
    ['marks that only fold alike', ['\u0390', '\u03aa\u0301'], ['\u0390', '\u03aa\u0301 (2)']],
    ['several names at once', ['a', 'b', 'a', 'b', 'b.x', 'b.x'], ['a', 'b', 'a (2)', 'b (2)', 'b.x', 'b (2).x']],
    ['a suffix that is taken', ['a', 'a (2)', 'a', 'a'], ['a', 'a (2)', 'a (3)', 'a (4)']],
    ['a suffix that is wanted later', ['a', 'a', 'a (2)', 'a (2)'], ['a', 'a (2)', 'a (2) (2)', 'a (2) (3)']],
    ['names alike after cleaning', ['a?', 'a*', 'a_.'], ['a_', 'a_ (2)', 'a_ (3)']],
    ['a fallback that is taken', ['file-0002', ''], ['file-0002', 'file-0002 (2)']],
    ['the same name in other folders', ['a/x', 'b/x', 'x'], ['a/x', 'b/x', 'x']],
    ['folders that differ in case', ['A/x', 'a/y', 'a/X'], ['A/x', 'a/y', 'a/X (2)']],
    ['a file before a folder', ['a', 'a/b', 'A/c', 'a/b'], ['a', 'a (2)/b', 'a (2)/c', 'a (2)/b (2)']],
    ['a folder before a file', ['a/b', 'a', 'A'], ['a/b', 'a (2)', 'A (3)']],
    ['a file below a file', ['a/b', 'a/b/c/d', 'a/b/c'], ['a/b', 'a/b (2)/c/d', 'a/b (2)/c (2)']],
    ['a folder with a dot', ['v1.2', 'v1.2/x'], ['v1.2', 'v1.2 (2)/x']],
    ['a renamed folder that is taken', ['a', 'a (2)/x', 'a/x'], ['a', 'a (2)/x', 'a (3)/x']],
  ])('keeps %s apart', (_what, raw, names) => {
    expect(takeAll(...raw)).toEqual(names)
  })

  it('shortens a long name to make room for a suffix, and keeps the extension', () => {
    const name = `${'a'.repeat(251)}.txt`
    const [first, second] = takeAll(name, name)
    expect(first).toBe(name)
    expect(second).toMatch(/^a{240} \(2\)\.txt$/)
  })

  it('drops a folder if a suffix would make the name longer than 1024 bytes', () => {
    const folders = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(250))
    const name = [...folders, 'e'.repeat(20)].join('/')
    const outer = folders.slice(0, 3).join('/')
    const [first, second, third] = takeAll(name, name, name)
    expect([first, second]).toEqual([name, `${outer}/${'e'.repeat(20)}`])
    expect(third).toBe(`${outer}/${'e'.repeat(20)} (2)`)
  })

  it.each([
    ['equal names', () => 'a.txt'],
    ['equal names in a folder a file stands for', (index: number) => (index === 0 ? 'a' : 'a/b')],
    ['pairs that differ only where a suffix cuts', (index: number) => 'a'.repeat(249) + ((index >> 1) + 100_000)],
    ['names and then their suffixes', (index: number) => (index < 32_768 ? `a (${index})` : 'a')],
  ])('names 65 536 files in about the same time each: %s', (_what, nameOf) => {
    const namer = createNamer()
    const startedAt = performance.now()
    const names = Array.from({ length: 65_536 }, (_, index) => namer.take(nameOf(index)))
    expect(performance.now() - startedAt).toBeLessThan(5000)
    expect(new Set(names).size).toBe(65_536)
  })

  it('gives names that obey every rule and are unique, for any input', () => {
    const parts = [
      'a',
      'A',
      'ß',
      'ẞ',
      'SS',
      's',
      'ſ',
      '\u0301',
      'e',
      '/',
      '\\',
      '.',
      '..',
      ' ',
      '.txt',
      '.tar.gz',
      ' (2)',
      'C:',
    ]
    const more = [
      'CON',
      'nul',
      '\u0000',
      '\u202e',
      '\ud83d',
      '\ude00',
      smile,
      euro.repeat(84),
      'a'.repeat(250),
      '?',
      '_',
      'b/',
    ]
    const raw = fc.oneof(
      fc.string({ unit: fc.constantFrom(...parts, ...more), maxLength: 12 }),
      fc.string({ unit: 'binary', maxLength: 400 }),
      fc.constantFrom('a', 'A', 'a/b', 'a/b/c', 'a (2)', 'a (2)/b'),
    )
    fc.assert(
      fc.property(fc.array(raw, { minLength: 1, maxLength: 40 }), (raws) => {
        const names = takeAll(...raws)
        for (const name of names) expectClean(name)
        expectApart(names)
        expect(takeAll(...raws)).toEqual(names)
      }),
      { numRuns: 300 },
    )
  })
})

function expectClean(name: string): void {
  expect(cleanEntryName(name, 0)).toBe(name)
  expect(name.isWellFormed()).toBe(true)
  expect(name.normalize('NFC')).toBe(name)
  expect(name).not.toMatch(/[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069<>:"|?*\\]/u)
  expect(Buffer.byteLength(name)).toBeLessThanOrEqual(1024)
  for (const segment of name.split('/')) {
    expect(segment).toMatch(/[^. ]$/)
    expect(segment).not.toMatch(/^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\.|$)/i)
    expect(Buffer.byteLength(segment)).toBeLessThanOrEqual(255)
  }
}

/** Checks that no two files are equal and no file equals a folder, in any folding of case. */
function expectApart(names: readonly string[]): void {
  for (const fold of [(text: string) => text.toUpperCase(), (text: string) => text.toLowerCase()]) {
    const files = new Set(names.map((name) => fold(name.normalize('NFD'))))
    expect(files.size).toBe(names.length)
    for (const name of files) {
      const folders = [...name.matchAll(/\//g)].map(({ index }) => name.slice(0, index))
      expect(folders.filter((folder) => files.has(folder))).toEqual([])
    }
  }
}
