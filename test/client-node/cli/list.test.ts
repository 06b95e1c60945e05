// How a list reaches the command line, and how what was ignored is worded. What lists may be: test/contracts/lists.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { ignoredLines, readList } from '../../../client-node/cli/list.ts'
import { parseList } from '../../../contracts/lists/list.ts'
import { tempDirectory } from '../../support/temp.ts'

const A = 'https://a.example/1'
const B = 'https://b.example/2'
const noInput = Readable.from([])
const urlsOf = async (path: string, stdin: Readable = noInput) =>
  (await readList(path, { stdin })).entries.map(({ url }) => url)

describe('a list', () => {
  it('is read from a file or from standard input', async () => {
    await using directory = await tempDirectory()
    const path = join(directory.path, 'list.txt')
    await writeFile(path, `\uFEFF${A}\n`)
    expect(await urlsOf(path)).toEqual([A])
    const parts = [Buffer.from(`${A}\n${B.slice(0, 5)}`), Buffer.from(B.slice(5))]
    expect(await urlsOf('-', Readable.from(parts))).toEqual([A, B])
  })

  it('that is not there says so by name', async () => {
    await using directory = await tempDirectory()
    await expect(urlsOf(join(directory.path, 'list.txt'))).rejects.toThrow(/list\.txt: ENOENT/)
  })

  it('that never ends is given up when asked', async () => {
    const endless = new Readable({ read() {} })
    await expect(readList('-', { stdin: endless, signal: AbortSignal.timeout(20) })).rejects.toThrow(/timeout/)
    expect(endless.destroyed).toBe(true)
  })
})

describe('what was ignored', () => {
  it('is told by line, in the order of the list, and harms no terminal', () => {
    const text = `${A}\nwww.b.example\nft\u001b[2J\nftp://c.example/3`
    expect(ignoredLines('list.txt', parseList(text), {})).toEqual([
      'list.txt: line 2: ignored: no scheme (--assume-https takes it): www.b.example',
      'list.txt: line 3: ignored: not a URL: ft\\x1b[2J',
      'list.txt: line 4: ignored: only http and https are fetched, not ftp: ftp://c.example/3',
    ])
    const assumeHttps = true
    expect(ignoredLines('list.txt', parseList(text, { assumeHttps }), { assumeHttps })).toHaveLength(2)
  })

  it('is counted only after twenty lines', () => {
    const lines = ignoredLines('list.txt', parseList('nonsense\n'.repeat(5000)), {})
    expect(lines).toHaveLength(21)
    expect(lines.at(-1)).toBe('list.txt: and 4980 more')
    expect(ignoredLines('list.txt', parseList('nonsense\n'.repeat(20)), {})).toHaveLength(20)
  })
})
