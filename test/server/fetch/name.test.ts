// The name an entry proposes for itself, from its request, its headers and its URL.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_NAME_LENGTH } from '#contracts/archive.ts'
import { type NameSources, proposeName } from '../../../server/fetch/name.ts'

function propose({ finalUrl = 'https://origin.test/', ...sources }: Sources): string {
  return proposeName({ finalUrl: new URL(finalUrl), index: 0, ...sources })
}

type Sources = Partial<Omit<NameSources, 'finalUrl'>> & { readonly finalUrl?: string }

/** Returns raw UTF-8 as an HTTP parser does: one character for each byte. */
function rawUtf8(text: string): string {
  return Buffer.from(text).toString('latin1')
}

describe('proposeName', () => {
  it('prefers the requested name, keeps its folders, and adds no extension to it', () => {
    const name = propose({
      requested: 'folder/mine',
      contentDisposition: 'attachment; filename=theirs.txt',
      finalUrl: 'https://origin.test/url.bin',
      contentType: 'image/png',
    })
    expect(name).toBe('folder/mine')
  })

  it.each(['', '  ', null, undefined])('uses the next source if the requested name is %j', (requested) => {
    expect(propose({ requested, finalUrl: 'https://origin.test/url.bin' })).toBe('url.bin')
  })

  it.each([
    ['attachment; filename="a b.txt"', 'a b.txt'],
    ['attachment; filename=plain.txt', 'plain.txt'],
    ['inline;FILENAME="upper.txt"', 'upper.txt'],
    ['attachment; filename="quo\\"te.txt"', 'quo_te.txt'],
    ["attachment; filename=x.txt; filename*=UTF-8''%E2%82%AC.txt", '€.txt'],
    ["attachment; filename*=UTF-8''%E2%82%AC.txt; filename=x.txt", '€.txt'],
    ["attachment; filename*=ISO-8859-1''%C3%A4.txt", 'Ã¤.txt'],
    ["attachment; filename=x.txt; filename*=UTF-8''%E2%82.txt", 'x.txt'],
    ["attachment; filename=x.txt; filename*=KOI8-R''%C1.txt", '\u0430.txt'],
    ["attachment; filename=x.txt; filename*=none''y.txt", 'x.txt'],
    ["attachment; filename=x.txt; filename*=UTF-8''..%2F", 'x.txt'],
    [rawUtf8('attachment; filename="naïve €.txt"'), 'naïve €.txt'],
    ['attachment; filename="na\xefve.txt"', 'naïve.txt'],
    ['attachment; filename="€.txt"', '€.txt'],
    ['attachment; filename="\u00c3\u20a4.txt"', '\u00c3\u20a4.txt'],
    ['attachment; filename="../../etc/passwd.txt"', '_.._etc_passwd.txt'],
    ['attachment; filename="C:/dir/x.txt"', 'C__dir_x.txt'],
    ['attachment; filename="C:\\\\dir\\\\x.txt"', 'C__dir_x.txt'],
    ["attachment; filename*=UTF-8''..%2F..%5Cx.txt", '_.._x.txt'],
    ['attachment; filename="unclosed', 'unclosed'],
    ['attachment; filename="dir/"', 'dir_'],
    ['attachment; filename=photo', 'photo'],
  ])('reads Content-Disposition %j', (contentDisposition, name) => {
    expect(propose({ contentDisposition, finalUrl: 'https://origin.test/url.bin' })).toBe(name)
  })

  it.each([
    '',
    'attachment',
    'attachment; filename=',
    'attachment; filename=""',
    'attachment; filename="/"',
    'attachment; filename=".."',
    'attachment; filename="\u200b\u0007 . "',
    'attachment; name=x.txt',
    ';;;===""',
    `attachment; filename=${'a'.repeat(20_000)}.txt`,
  ])('takes the name from the URL if Content-Disposition %j has none', (contentDisposition) => {
    expect(propose({ contentDisposition, finalUrl: 'https://origin.test/url.bin' })).toBe('url.bin')
  })

  it.each([
    ['https://origin.test/a/b.txt?file=c.txt#d.txt', 'b.txt'],
    ['https://origin.test/a/b/', 'b'],
    ['https://origin.test/a//', 'a'],
    ['https://origin.test/a%20b%E2%82%AC.txt', 'a b€.txt'],
    ['https://origin.test/%E4%zz%41.txt', 'ä%zzA.txt'],
    ['https://origin.test/dir%2Fb.txt', 'dir_b.txt'],
    ['https://origin.test/dir%5C..%5Cb.txt', 'dir_.._b.txt'],
    ['https://origin.test/?b.txt', 'file-0001'],
    ['https://origin.test/;b.txt', 'file-0001'],
    ['https://origin.test/%2F', 'file-0001'],
    ['https://origin.test/%00', 'file-0001'],
    ['https://origin.test', 'file-0001'],
    ['https://origin.test//', 'file-0001'],
    ['https://origin.test//a', 'a'],
    ['https://origin.test/a/b///', 'b'],
  ])('reads the URL %s', (finalUrl, name) => {
    expect(propose({ finalUrl })).toBe(name)
  })

  it.each([
    [0, 'file-0001'],
    [41, 'file-0042'],
    [9998, 'file-9999'],
    [65_535, 'file-65536'],
  ])('numbers entry %i as %s if no source has a name', (index, name) => {
    expect(propose({ index })).toBe(name)
  })

  it.each([
    ['photo', 'image/jpeg', 'photo.jpeg'],
    ['photo', 'IMAGE/JPEG ; q="x"', 'photo.jpeg'],
    ['', 'image/png', 'file-0001.png'],
    ['song', 'audio/mpeg', 'song.mp3'],
    ['song', 'Audio/MPEG', 'song.mp3'],
    ['film', 'video/quicktime', 'film.mov'],
    ['photo.jpeg', 'image/png', 'photo.jpeg'],
    ['.htaccess', 'text/plain', 'htaccess.txt'],
    ['photo.php?', 'image/png', 'photo.png'],
    ['?id=7', 'image/png', 'file-0001.png'],
    ['a.b c', 'text/plain', 'a.b c'],
    ['README', 'application/octet-stream', 'README'],
    ['README', 'no/such-type', 'README'],
    ['README', '__proto__', 'README'],
    ['README', '', 'README'],
    ['README', null, 'README'],
  ])('turns %j of type %j into %j', (path, contentType, name) => {
    expect(propose({ finalUrl: `https://origin.test/${path}`, contentType })).toBe(name)
  })

  it.each([
    ['get.php?id=7', 'application/x-7z-compressed', 'get.7z'],
    ['get.aspx?id=7', 'video/quicktime', 'get.mov'],
    ['report.docx?id=7', 'application/vnd.oasis.opendocument.text', 'report.docx'],
    ['get.php?id=7', 'no/such-type', 'get.php'],
  ])(
    'lets a registry, for types that Chromium asks the system about, replace programs only: %j of %j is %j',
    (path, contentType, name) => {
      expect(propose({ finalUrl: `https://origin.test/${path}`, contentType })).toBe(name)
    },
  )

  it('gives a name without separators, whatever the origin sends', () => {
    const hostile = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({
        unit: fc.constantFrom('filename', '*', '=', '"', ';', "UTF-8''", '%2F', '%', '\\', '/', '..', '\0', 'a'),
      }),
    )
    fc.assert(
      fc.property(hostile, hostile, hostile, (text, path, contentType) => {
        const contentDisposition = `attachment; ${text}`
        const name = propose({ contentDisposition, finalUrl: `https://origin.test/${path}`, contentType })
        expect(name).toMatch(/^[^/\\]+$/)
        expect(name).not.toMatch(/^\.|[\p{Cc}\p{Noncharacter_Code_Point}]/u)
      }),
    )
  })

  it.each([
    ['quotes', '"'.repeat(16_000)],
    ['semicolons', ';'.repeat(16_000)],
    ['escapes', `filename*=UTF-8''${'%'.repeat(16_000)}`],
    ['backslashes', `filename="${'\\'.repeat(15_000)}`],
    ['spaces', `filename=a${' '.repeat(15_000)}b`],
  ])('reads a header of many %s in no time', (_what, header) => {
    const startedAt = performance.now()
    propose({ contentDisposition: `a; ${header}`, finalUrl: `https://origin.test/${'/'.repeat(16_000)}x` })
    expect(performance.now() - startedAt).toBeLessThan(200)
  })

  it('reads 16 KiB of any repeated pattern of its grammar in no time', () => {
    const pieces = [
      'filename',
      '*',
      '=',
      '"',
      '\\',
      ';',
      ' ',
      "UTF-8''",
      '%',
      '%2F',
      '%E2%82',
      ',',
      '\t',
      'a',
      '\xe4',
      '.',
    ]
    const pattern = fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''))
    const LENGTH = 16_384
    // In quadratic time this would take minutes and exceed the test's time-out.
    fc.assert(
      fc.property(pattern, pattern, pattern, (start, again, end) => {
        const room = LENGTH - 'attachment; '.length - start.length - end.length
        const contentDisposition = `attachment; ${start}${again.repeat(Math.floor(room / again.length))}${end}`
        const path = again.repeat(Math.floor(8_000 / again.length))
        expect(propose({ contentDisposition, finalUrl: `https://origin.test/${path}` })).toMatch(/^[^/\\]+$/)
      }),
      { numRuns: 1_000 },
    )
  })

  it('is never longer than a requested name may be plus an extension, because it is journalled', () => {
    const long = '\u0315'.repeat(800_000)
    const most = MAX_NAME_LENGTH + '.bin'.length
    expect(propose({ requested: long }).length).toBeLessThanOrEqual(most)
    expect(propose({ requested: `${long}.txt` })).toMatch(/\.txt$/)
    const finalUrl = `https://origin.test/${'\u0315'.repeat(8_000)}.txt`
    expect(propose({ finalUrl }).length).toBeLessThanOrEqual(most)
    expect(propose({ finalUrl })).toMatch(/\.txt$/)
    for (const length of [4_000, 5_000, 60_000]) {
      const contentDisposition = `attachment; filename="${'a'.repeat(length)}"`
      expect(propose({ contentDisposition, contentType: `${'a/'.repeat(50_000)};` }).length).toBeLessThanOrEqual(most)
    }
  })
})
