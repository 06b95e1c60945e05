// What the reader of lists makes of lists as people have them: input and exact outcome.
import { describe, expect, it } from 'vitest'
import { decodeList } from '#contracts/lists/decode.ts'
import { type ListOptions, parseList } from '#contracts/lists/list.ts'

const A = 'https://a.example/1'
const B = 'https://b.example/2'
const C = 'https://c.example/3'

/** An entry is "line URL" or "line URL = name", what was ignored "line reason: text", a host without a scheme "line text". */
function read(text: string, options: ListOptions = {}) {
  const { format, entries, ignored, bareHosts } = parseList(text, options)
  return {
    format,
    entries: entries.map(({ line, url, name }) => `${line} ${url}${name === undefined ? '' : ` = ${name}`}`),
    ...(ignored.length > 0 && { ignored: ignored.map(({ line, reason, text }) => `${line} ${reason}: ${text}`) }),
    ...(bareHosts.length > 0 && { bare: bareHosts.map(({ line, text }) => `${line} ${text}`) }),
  }
}

type Case = [what: string, text: string, entries: string[], other?: { ignored?: string[]; bare?: string[] }]
const expectAll = (format: string, cases: Case[]) => {
  it.each(cases)('%s', (_, text, entries, other = {}) => {
    expect(read(text)).toEqual({ format, entries, ...other })
  })
}

const NOT = (scheme: string) => `only http and https are fetched, not ${scheme}`
const SPACE = 'a space inside: write %20 if it belongs to the URL, a tab if a name follows'

describe('lines', () => {
  expectAll('lines', [
    ['end with LF', `${A}\n${B}\n`, [`1 ${A}`, `2 ${B}`]],
    ['end with CR LF', `${A}\r\n${B}\r\n`, [`1 ${A}`, `2 ${B}`]],
    ['end with CR alone', `${A}\r${B}\r\r${C}`, [`1 ${A}`, `2 ${B}`, `4 ${C}`]],
    ['end in every way at once', `${A}\n\r\r\n${B}\r\n\n${C}`, [`1 ${A}`, `4 ${B}`, `6 ${C}`]],
    ['may begin with a byte order mark', `\uFEFF${A}`, [`1 ${A}`]],
    [
      'that hold a NUL are reported',
      `${A}\0\n${B}`,
      [`2 ${B}`],
      {
        ignored: [`1 a NUL character; perhaps UTF-16 without a byte order mark: ${A}\0`],
      },
    ],
    ['of nothing are nothing', '', []],
    ['that are blank or comments are skipped', `# x ${B}\n\n \t\n  # y\n${A}\n#${C}`, [`5 ${A}`]],
    ['end with a comment', `${A} # the first, not ${B}\n${B}\t# second`, [`1 ${A}`, `2 ${B}`]],
    ['keep a fragment', `${A}#top\n${B}/#/route`, [`1 ${A}#top`, `2 ${B}/#/route`]],
    ['have white space around, even invisible one', `\u00a0 ${A}\u200b \n\t${B}\u3000`, [`1 ${A}`, `2 ${B}`]],
    ['have bullets', `- ${A}\n* ${B}\n• ${C}\n- [ ] ${A}x`, [`1 ${A}`, `2 ${B}`, `3 ${C}`, `4 ${A}x`]],
    ['have numbers', `1. ${A}\n2) ${B}\n3.${C}`, [`1 ${A}`, `2 ${B}`, `3 ${C}`]],
    ['of marks alone are nothing', `---\n===\n\`\`\`json\n${A}\n\`\`\`\n| --- | --- |`, [`4 ${A}`]],
    [
      'without a URL are reported',
      `hello\n${A}\nwhat is this?`,
      [`2 ${A}`],
      {
        ignored: ['1 not a URL: hello', '3 not a URL: what is this?'],
      },
    ],
  ])

  it('count what comes again, and keep it', () => {
    const { entries, duplicateCount } = parseList(`${A}\n${B}\n${A}\n${A}`)
    expect({ urls: entries.map(({ url }) => url), duplicateCount }).toEqual({ urls: [A, B, A, A], duplicateCount: 2 })
  })

  it('that are long are shown in part', () => {
    const { ignored } = parseList(`${'x'.repeat(5000)}\n${A}`)
    expect(ignored[0]!.text).toBe(`${'x'.repeat(119)}…`)
  })
})

describe('what stands around a URL', () => {
  expectAll('lines', [
    ['may be quotes', `"${A}"\n'${B}'\n\`${C}\``, [`1 ${A}`, `2 ${B}`, `3 ${C}`]],
    [
      'may be typographic quotes',
      `“${A}”\n„${B}“\n«${C}»\n‘${A}’\n「${B}」`,
      [`1 ${A}`, `2 ${B}`, `3 ${C}`, `4 ${A}`, `5 ${B}`],
    ],
    ['may be angle brackets', `<${A}>\n<URL:${B}>`, [`1 ${A}`, `2 ${B}`]],
    ['may be parentheses and brackets', `(${A})\n[${B}]\n{${C}}`, [`1 ${A}`, `2 ${B}`, `3 ${C}`]],
    [
      'may be a comma, a semicolon, a full stop',
      `${A},\n${B};\n${C}.\n"${A}",\n(${B}).`,
      [`1 ${A}`, `2 ${B}`, `3 ${C}`, `4 ${A}`, `5 ${B}`],
    ],
    ['may be full-width', `（${A}）。\n${B}，\n下载：${C}。`, [`1 ${A}`, `2 ${B}`, `3 ${C}`]],
    ['may be emphasis', `**${A}**\n_${B}_\n~~${C}~~`, [`1 ${A}`, `2 ${B}`, `3 ${C}`]],
    ['may be a sentence', `Have you seen ${A}? It is (see ${B}), well ...`, [`1 ${A}`, `1 ${B}`]],
    ['may be a description', `${A} - the first, 12 MB\n${B} (old)`, [`1 ${A}`, `2 ${B}`]],
  ])
})

describe('a URL', () => {
  const wiki = 'https://en.wikipedia.org/wiki/Sheaf_(mathematics)'
  expectAll('lines', [
    [
      'keeps parentheses in pairs',
      `${wiki}\n(${wiki})\n[x.txt](${wiki})\nsee ${wiki}.`,
      [`1 ${wiki}`, `2 ${wiki}`, `3 ${wiki} = x.txt`, `4 ${wiki}`],
    ],
    [
      'keeps commas, semicolons and pipes inside',
      `${A}/w_1,h_2/x.png\n${A}?box=1,2,3,4\n${A};v=2\n${A}?f=a|b\n${A}/story-1,1518.html`,
      [`1 ${A}/w_1,h_2/x.png`, `2 ${A}?box=1,2,3,4`, `3 ${A};v=2`, `4 ${A}?f=a|b`, `5 ${A}/story-1,1518.html`],
    ],
    [
      'keeps percent-encodings and entities',
      `${A}%20%2F%zz\n${A}?x=1&amp;y=2`,
      [`1 ${A}%20%2F%zz`, `2 ${A}?x=1&amp;y=2`],
    ],
    ['keeps letters of other scripts', 'https://bücher.example/ü/文件.zip', ['1 https://bücher.example/ü/文件.zip']],
    [
      'keeps spaces inside',
      `${A}/my file.pdf\n"${B}/a b"\n<${C}/c d>`,
      [`1 ${A}/my file.pdf`, `2 ${B}/a b`, `3 ${C}/c d`],
    ],
    [
      'that may or may not hold a space is reported',
      `${A}.png two.png`,
      [],
      { ignored: [`1 ${SPACE}: ${A}.png two.png`] },
    ],
    [
      'may have an IPv6 host, a port, upper case',
      'http://[::1]/\n[http://[::1]:80/x]\nHTTPS://EXAMPLE.org',
      ['1 http://[::1]/', '2 http://[::1]:80/x', '3 HTTPS://EXAMPLE.org'],
    ],
    [
      'inside another one is a part of it',
      `https://web.archive.org/web/2020/${A}\n${B}?u=${A}`,
      [`1 https://web.archive.org/web/2020/${A}`, `2 ${B}?u=${A}`],
    ],
    ['with credentials is for the server to judge', 'https://u:p@a.example/', ['1 https://u:p@a.example/']],
    [
      'that cannot be one is reported',
      `http://\nhttp://[bad/\nhttp:/a.example\n${A}`,
      [`4 ${A}`],
      {
        ignored: ['1 not a URL: http://', '2 not a URL: http://[bad/', '3 not a URL: http:/a.example'],
      },
    ],
  ])

  it('has a length limit, and so has its name', () => {
    const { entries, ignored } = parseList(
      `${A}${'x'.repeat(8192)}\n${B}\t${'n'.repeat(4097)}\n${C}\t${'n'.repeat(4096)}`,
    )
    expect(entries.map(({ line }) => line)).toEqual([3])
    expect(ignored.map(({ line, reason }) => [line, reason])).toEqual([
      [1, 'a URL of more than 8192 characters'],
      [2, 'a name of more than 4096 characters'],
    ])
  })
})

describe('several URLs on a line', () => {
  expectAll('lines', [
    ['have spaces or tabs between', `${A} ${B}\t${C}`, [`1 ${A}`, `1 ${B}`, `1 ${C}`]],
    [
      'have commas, semicolons or pipes between',
      `${A},${B}\n${A};${B}|${C}\n${A}, ${B}; ${C}.`,
      [`1 ${A}`, `1 ${B}`, `2 ${A}`, `2 ${B}`, `2 ${C}`, `3 ${A}`, `3 ${B}`, `3 ${C}`],
    ],
    ['have words between', `${A} or ${B} and then ${C}!`, [`1 ${A}`, `1 ${B}`, `1 ${C}`]],
    ['have quotes around each', `"${A}","${B}" '${C}'`, [`1 ${A}`, `1 ${B}`, `1 ${C}`]],
    [
      'may have a host without a scheme between',
      `${A}, www.b.example/x, ${C}`,
      [`1 ${A}`, `1 ${C}`],
      { bare: ['1 www.b.example/x'] },
    ],
    [
      'may be of schemes that are not fetched',
      `${A} ftp://b.example/2`,
      [`1 ${A}`],
      { ignored: [`1 ${NOT('ftp')}: ftp://b.example/2`] },
    ],
  ])
})

describe('a scheme', () => {
  expectAll('lines', [
    [
      'that is not fetched is reported',
      `ftp://a.example/x\nfile:///etc/passwd\nmailto:a@b.example\nmagnet:?xt=1\ns3://bucket/x\ngit+https://g.example/x`,
      [],
      {
        ignored: [
          `1 ${NOT('ftp')}: ftp://a.example/x`,
          `2 ${NOT('file')}: file:///etc/passwd`,
          `3 ${NOT('mailto')}: mailto:a@b.example`,
          `4 ${NOT('magnet')}: magnet:?xt=1`,
          `5 ${NOT('s3')}: s3://bucket/x`,
          `6 ${NOT('git+https')}: git+https://g.example/x`,
        ],
      },
    ],
    [
      'may hold a URL that is not meant',
      "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'",
      [],
      {
        ignored: [`1 ${NOT('data')}: data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'`],
      },
    ],
    [
      'is not a drive, nor a word with a colon',
      `C:\\pictures\\a.png\nlater: more`,
      [],
      {
        ignored: ['1 not a URL: C:\\pictures\\a.png', '2 not a URL: later: more'],
      },
    ],
  ])
})

describe('a host without a scheme', () => {
  expectAll('lines', [
    [
      'is offered',
      'example.org/a.zip\nwww.example.org\nexample.org\nlocalhost:8080/x\n127.0.0.1:80\n//cdn.example.org/x.js',
      [],
      {
        bare: [
          '1 example.org/a.zip',
          '2 www.example.org',
          '3 example.org',
          '4 localhost:8080/x',
          '5 127.0.0.1:80',
          '6 //cdn.example.org/x.js',
        ],
      },
    ],
    [
      'may have quotes, commas and comments',
      '"example.org/a.zip",\nexample.org/b.zip # second',
      [],
      { bare: ['1 example.org/a.zip', '2 example.org/b.zip'] },
    ],
    [
      'is not a file, a path, a version, an abbreviation',
      'cover.png\nimages/a.png\n./a.png\nv1.2.3\ne.g. this\na@b.example',
      [],
      {
        ignored: [
          '1 not a URL: cover.png',
          '2 not a URL: images/a.png',
          '3 a relative URL: ./a.png',
          '4 not a URL: v1.2.3',
          '5 not a URL: e.g. this',
          '6 not a URL: a@b.example',
        ],
      },
    ],
  ])

  it('is taken as https if that is asked for, in its place and with its name', () => {
    const text = `${A}\nexample.org/b\ttwo\n//c.example\n["x"]`
    expect(read(text, { assumeHttps: true })).toEqual({
      format: 'lines',
      entries: [`1 ${A}`, '2 https://example.org/b = two', '3 https://c.example'],
      ignored: ['4 not a URL: ["x"]'],
      bare: ['2 example.org/b', '3 //c.example'],
    })
  })
})

describe('a name', () => {
  expectAll('lines', [
    [
      'stands behind a tab, or before',
      `${A}\tone.png\ntwo.png\t${B}\n${C}\t folder/3.png `,
      [`1 ${A} = one.png`, `2 ${B} = two.png`, `3 ${C} = folder/3.png`],
    ],
    ['may be absent behind a tab', `${A}\t\n${B}\t \t`, [`1 ${A}`, `2 ${B}`]],
    [
      'stands behind a comma, or before',
      `${A},one.png\ntwo.png, ${B}\n${C}.png,folder/3.png`,
      [`1 ${A} = one.png`, `2 ${B} = two.png`, `3 ${C}.png = folder/3.png`],
    ],
    [
      'stands behind a semicolon, or before',
      `${A};Smith, John.png\ntwo;${B}`,
      [`1 ${A} = Smith, John.png`, `2 ${B} = two`],
    ],
    [
      'may be quoted',
      `"${A}","one, ""two"""\n'${B}','b'\n<${C}>\tc`,
      [`1 ${A} = one, "two"`, `2 ${B} = b`, `3 ${C} = c`],
    ],
    [
      'is the one cell of several that looks like a file',
      `1,${A},one.png,200\n${B}\ttwo\tdrei`,
      [`1 ${A} = one.png`, `2 ${B}`],
    ],
    ['goes with a bullet', `- ${A}\tone.png`, [`1 ${A} = one.png`]],
  ])
})

describe('a table', () => {
  expectAll('table', [
    [
      'has a header that says which column is which',
      `name,size,url\none.png,1,${A}\ntwo.png,2,${B}`,
      [`2 ${A} = one.png`, `3 ${B} = two.png`],
    ],
    ['may have tabs or semicolons', `URL\tFile name\r${A}\tone.png\r`, [`2 ${A} = one.png`]],
    ['may have a header in another language', `Titel;Adresse\r\nEins;${A}\r\n`, [`2 ${A} = Eins`]],
    ['may have names without a header', `# mine\n\n"Download URL"\n${A},2\n"${B}"`, [`4 ${A},2`, `5 ${B}`]],
    [
      'has quoted cells, over several lines too',
      `"url","name"\n"${A}","a ""b"", c"\n"${B}","two\nlines"\n${C},3`,
      [`2 ${A} = a "b", c`, `3 ${B} = two\nlines`, `5 ${C} = 3`],
    ],
    [
      'may have blank lines, comments and empty cells at the end',
      `url,name,\n\n# x\n${A},one,\n${B},,,`,
      [`4 ${A} = one`, `5 ${B}`],
    ],
    [
      'reports rows without a URL, with another scheme, with too many cells',
      `url,name\n,one\nftp://a.example,two\n${A},x,y\n"open,z\n${B},b`,
      [`6 ${B} = b`],
      {
        ignored: [
          '2 no URL in its column: ,one',
          `3 ${NOT('ftp')}: ftp://a.example`,
          `4 more cells than the header has; a cell that holds the separator needs quotes: ${A},x,y`,
          '5 not a URL: "open,z',
        ],
      },
    ],
    ['offers hosts without a scheme', 'name,url\none,example.org/a', [], { bare: ['2 example.org/a'] }],
    ['may have several URLs in a cell', `id,url\n1,"${A} ${B}"`, [`2 ${A}`, `2 ${B}`]],
  ])
})

describe('JSON', () => {
  expectAll('json', [
    ['is an array of URLs', `["${A}",\n"${B}"]`, [`1 ${A}`, `2 ${B}`]],
    [
      'is an array of objects',
      `[\n  {"url": "${A}", "name": "one"},\n  {\n    "filename": "two",\n    "url": "${B}"},\n{"url":"${C}","path":"d/3"}]`,
      [`2 ${A} = one`, `3 ${B} = two`, `6 ${C} = d/3`],
    ],
    ['has escapes', `["https:\\/\\/a.example\\/\\u00fc"]`, ['1 https://a.example/ü']],
    ['may end with a comma', `["${A}",]`, [`1 ${A}`]],
    ['may be empty', '[]', []],
    [
      'reports items that are not URLs',
      `["${A}",\n7,\n{"name":"x"},\n["y"],\n{"url":"${B}","name":5},\n"ftp://a.example/",\n"words","example.org/x"]`,
      [`1 ${A}`],
      {
        ignored: [
          '2 neither a URL nor an object with a url: 7',
          '3 neither a URL nor an object with a url: {"name":"x"}',
          '4 neither a URL nor an object with a url: ["y"]',
          `5 the name is not text: {"url":"${B}","name":5}`,
          `6 ${NOT('ftp')}: ftp://a.example/`,
          '7 not a URL: words',
        ],
        bare: ['7 example.org/x'],
      },
    ],
    [
      'costs only the item that is broken',
      `["${A}",\n"open\n"${B}",\n{"url" "x"},\n"${C}"`,
      [`1 ${A}`, `3 ${B}`, `5 ${C}`],
      {
        ignored: ['2 not JSON: "open', '4 not JSON: {"url" "x"}'],
      },
    ],
  ])
  expectAll('json-lines', [
    [
      'may be one object a line',
      `{"url":"${A}","name":"one"}\r\n\r\n{"url":"${B}"},\r\n{"url":\r\n"${C}"`,
      [`1 ${A} = one`, `3 ${B}`, `5 ${C}`],
      {
        ignored: ['4 not JSON: {"url":'],
      },
    ],
  ])
})

describe('Markdown', () => {
  expectAll('lines', [
    [
      'has links, whose text is the name',
      `[one.png](${A})\n- [**A report**](${B}.pdf "title")\n[two](${C})`,
      [`1 ${A} = one.png`, `2 ${B}.pdf = A report.pdf`, `3 ${C} = two`],
    ],
    ['has targets with commas', `- [one.png](<${A}/,b.example?c>)`, [`1 ${A}/,b.example?c = one.png`]],
    ['has several links on a line', `[a.b](${A}),[c.d](${B}) and <${C}>`, [`1 ${A} = a.b`, `1 ${B} = c.d`, `1 ${C}`]],
    [
      'has images, whose text is a name only if it looks like one',
      `![a cat](${A}.png)\n![cat.png](${B})`,
      [`1 ${A}.png`, `2 ${B} = cat.png`],
    ],
    ['has images in links', `[![logo](${A}.svg)](${B})`, [`1 ${A}.svg`, `1 ${B}`]],
    ['has reference definitions', `[1]: ${A}\n[two]: <${B}> "Two"`, [`1 ${A}`, `2 ${B}`]],
    [
      'has links to pages beside it, which are reported',
      `[x](docs/x.md) and [y](${A})\n[z](../z)`,
      [`1 ${A} = y`],
      {
        ignored: ['1 a relative URL: docs/x.md', '2 a relative URL: [z](../z)'],
      },
    ],
    ['has escapes and spaces in targets', `[a \\[b\\].txt](<${A}/c d>)`, [`1 ${A}/c d = a [b].txt`]],
    ['has tables', `| a | ${A} |\n|b|${B}|`, [`1 ${A}`, `2 ${B}`]],
    ['has tags', `# x\n<img src="${A}?x=1&amp;y=2">\n<b>[n.png](${B})</b>`, [`2 ${A}?x=1&y=2`, `3 ${B} = n.png`]],
  ])
})

describe('HTML', () => {
  expectAll('html', [
    [
      'has links and images, decoded',
      `<!doctype html>\n<a class=x href="${A}?x=1&amp;y=&#50;">one</a>\n<IMG SRC='${B}'/><img src=${C}>`,
      [`2 ${A}?x=1&y=2`, `3 ${B}`, `3 ${C}`],
    ],
    [
      'has names of downloads',
      `<p><a href="${A}" download="a&quot;b.txt">x</a><a download href=${B}>y</a>`,
      [`1 ${A} = a"b.txt`, `1 ${B}`],
    ],
    [
      'has URLs in its text, but the text of a link is its own',
      `<html>\n<li>${A}\n<li>${B}&amp;x</li>\n<a href="${C}">${C}</a>`,
      [`2 ${A}`, `3 ${B}&x`, `4 ${C}`],
    ],
    [
      'reports what is relative or not fetched',
      `<ul>\n<a href="x.html">\n<img src="/y.png">\n<a href="#z">\n<a href="mailto:a@b.example">\n<script>"${A}"</script><img src="//c.example/z">`,
      [],
      {
        ignored: [
          '2 a relative URL: x.html',
          '3 a relative URL: /y.png',
          '4 a relative URL: #z',
          `5 ${NOT('mailto')}: mailto:a@b.example`,
        ],
        bare: ['6 //c.example/z'],
      },
    ],
    [
      'has comments, bases and what is not markup',
      `<html><!-- ${A}\n--><base href="${B}">1 < 2\n<https://c.example/3>`,
      [`3 ${C}`],
    ],
    [
      'reports a tag that does not end',
      `<html>\n<a href="${A}">\n<a href="${B}`,
      [`2 ${A}`],
      { ignored: [`3 a tag or comment that does not end: <a href="${B}`] },
    ],
    [
      'may be XML',
      `<?xml version="1.0"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n<url><loc>${A}</loc></url>`,
      [`3 ${A}`],
    ],
  ])
})

describe('an input file of aria2', () => {
  expectAll('aria2', [
    [
      'names entries below them, and has mirrors',
      `# x\n${A}\t${B}\n  out=one.bin\n  referer=${C}\n${C}\n\tdir=/tmp\n`,
      [`2 ${A} = one.bin`, `5 ${C}`],
      {
        ignored: [`2 a mirror of the URL before it; one is fetched: ${B}`],
      },
    ],
    [
      'may have options for what is ignored',
      `ftp://a.example/1\n  out=one\n${B}\n  out=two`,
      [`3 ${B} = two`],
      { ignored: [`1 ${NOT('ftp')}: ftp://a.example/1`] },
    ],
  ])
})

describe('the bytes of a list', () => {
  const text = `${A}\tü.png\r\n`
  const swapped = (bytes: Buffer) => Buffer.from(bytes).swap16()
  it.each([
    ['UTF-8', Buffer.from(text)],
    ['UTF-8 with a byte order mark', Buffer.from(`\ufeff${text}`)],
    ['UTF-16 LE with one', Buffer.from(`\ufeff${text}`, 'utf16le')],
    ['UTF-16 BE with one', swapped(Buffer.from(`\ufeff${text}`, 'utf16le'))],
  ])('may be %s', (_, bytes) => {
    expect(read(decodeList(bytes))).toEqual({ format: 'lines', entries: [`1 ${A} = ü.png`] })
  })

  it('that are not text cost the lines they stand in', () => {
    const latin1 = Buffer.from(`# ü\n${A}\tü.png\n${B}?ü\n${C}\nü`, 'latin1')
    expect(parseList(decodeList(latin1))).toMatchObject({
      entries: [{ url: C, line: 4 }],
      ignored: [2, 3, 5].map((line) => ({ line, reason: 'not UTF-8' })),
    })
    const unmarked = parseList(decodeList(Buffer.from(`${A}\n`, 'utf16le')))
    expect(unmarked).toMatchObject({ entries: [], ignored: [{ line: 1, reason: /UTF-16/ }, { line: 2 }] })
    const odd = Buffer.concat([Buffer.from(`\ufeff${A}\n${B}`, 'utf16le'), Buffer.from('x')])
    expect(read(decodeList(odd))).toMatchObject({
      entries: [`1 ${A}`],
      ignored: [expect.stringContaining('2 not UTF-8')],
    })
  })
})
