// Lists of URLs in both forms, and errors that name the place of a fault.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { ListError, parseList, readList } from '../../../client-node/cli/list.ts'
import { tempDirectory } from '../../support/temp.ts'

const A = 'https://a.example/1'
const B = 'https://b.example/2'

describe('a list', () => {
  it.each([
    ['one URL a line', `${A}\n${B}\n`, [A, B]],
    ['no line end at the end', `${A}\n${B}`, [A, B]],
    ['line ends of Windows', `${A}\r\n${B}\r\n`, [A, B]],
    ['blank lines and comments', `# images\n\n  ${A}  \n   # more\n\t\n${B}`, [A, B]],
    ['a name after a tab', `${A}\tcover.png\n${B}`, [{ url: A, name: 'cover.png' }, B]],
    ['a fragment is no comment', `${A}#top`, [`${A}#top`]],
    ['what the server will judge', 'ftp://a.example/x\nno url at all', ['ftp://a.example/x', 'no url at all']],
    ['the same URL twice', `${A}\n${A}`, [A, A]],
  ])('has %s', (_, text, entries) => {
    expect(parseList(text, 'list.txt')).toEqual(entries)
  })

  it('is read as JSON if its name says so, or if it has no name and begins like JSON', () => {
    const text = JSON.stringify([A, { url: B, name: 'two' }])
    expect(parseList(text, 'list.json')).toEqual([A, { url: B, name: 'two' }])
    expect(parseList(`\n ${text}`, 'standard input')).toEqual([A, { url: B, name: 'two' }])
  })

  it.each([
    ['list.txt', `\n\n${A}\tname\textra`, 'list.txt:3: more than one tab'],
    ['list.txt', `${A}\n\0\0\0`, 'list.txt:2: a NUL'],
    ['list.txt', '# nothing\n', 'list.txt: holds no URL'],
    ['list.json', '[]', 'list.json: holds no URL'],
    ['list.json', '{"url": "x"}', 'list.json: no array of URLs'],
    ['list.json', `["${A}",\n "${B}"\n 3]`, 'list.json:3: no JSON'],
    ['list.json', `["${A}", {"name": "x"}]`, 'list.json: item 2 is neither a URL'],
    ['list.json', `["${A}", 7]`, 'list.json: item 2 is neither a URL'],
  ])('in %s causes an error that says what is wrong and where: %j', (label, text, message) => {
    const parse = () => parseList(text, label)
    expect(parse).toThrow(ListError)
    expect(parse).toThrow(message)
  })

  it('is read from a file or from standard input', async () => {
    await using directory = await tempDirectory()
    const path = join(directory.path, 'list.txt')
    await writeFile(path, `\uFEFF${A}\n`)
    expect(await readList(path, Readable.from([]))).toEqual([A])
    expect(
      await readList('-', Readable.from([Buffer.from(`${A}\n${B.slice(0, 5)}`), Buffer.from(B.slice(5))])),
    ).toEqual([A, B])
  })

  it('that does not exist, or is not text, causes an error with its name', async () => {
    await using directory = await tempDirectory()
    const path = join(directory.path, 'list.txt')
    await expect(readList(path, Readable.from([]))).rejects.toThrow(/list\.txt: ENOENT/)
    await writeFile(path, Buffer.from([0x68, 0xff, 0xfe]))
    await expect(readList(path, Readable.from([]))).rejects.toThrow(/list\.txt: no UTF-8 text/)
  })

  it('that never ends is given up when the caller aborts', async () => {
    const endless = new Readable({ read() {} })
    await expect(readList('-', endless, AbortSignal.timeout(20))).rejects.toThrow(/timeout/)
    expect(endless.destroyed).toBe(true)
  })
})
