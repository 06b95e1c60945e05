// Hostile names in requests, headers and URLs: files are extracted under the reported names, and only inside the folder.
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import type { EntryInput } from '#contracts/archive.ts'
import { newArchiveKey } from '#contracts/client.ts'
import { call } from '../contract/callers.ts'
import { ask } from '../support/ask.ts'
import { bytes } from '../support/behaviours.ts'
import type { Origin } from '../support/origin.ts'
import { tempDirectory } from '../support/temp.ts'
import { verifyZip } from '../support/unpack.ts'
import { completed, eachTestItsWorld, watch } from './world.ts'

const world = eachTestItsWorld()
const run = promisify(execFile)

const outOfHere = [
  '../../../../../../tmp/sheaf-escaped',
  '/tmp/sheaf-escaped',
  '//tmp//sheaf-escaped',
  '..\\..\\sheaf-escaped',
  'C:\\sheaf-escaped',
  '\\\\server\\share\\sheaf-escaped',
  'a/../../../../sheaf-escaped',
  'a/..\u202e/..\u0000/sheaf-escaped',
  '~/sheaf-escaped',
  '-rf',
  '--checkpoint-action=exec=sh',
  '@list',
  '$(touch sheaf-escaped)',
  '`id`;|&.sh',
]

const requested = [
  ...outOfHere,
  '',
  '.',
  '..',
  '/',
  'C:',
  'ends with a slash/',
  'dots and spaces . . .',
  ' leading',
  'con.txt',
  'aux/nul.tar.gz',
  'a:stream',
  '<>:"|?*.txt',
  'line\nfeed\r\nand\ttab\u0085',
  'gpj\u202eexe.scr',
  'lone \ud800 surrogate \udc00',
  'mark \ufeff and \u200e\u2066isolate',
  'Stra\u00dfe.txt',
  'STRASSE.TXT',
  '\u00c5ngstr\u00f6m',
  'A\u030angstro\u0308m',
  '\u212bngstr\u00f6m',
  'file',
  'file/below.txt',
  'File/Below.txt',
  'FILE',
  'same.tar.gz',
  'same.tar.gz',
  'same (2).tar.gz',
  '%2e%2e%2fnot decoded',
  '日本語/😀/👩‍👩‍👧.png',
  `${'ä'.repeat(300)}.jpeg`,
  `${'ä'.repeat(300)}.jpeg`,
  `${'deep/'.repeat(60)}leaf.txt`,
  Array.from({ length: 9 }, (_, n) => `${n}`.repeat(200)).join('/'),
]

const latin1 = (text: string) => Buffer.from(text).toString('latin1')
const dispositions = [
  ...outOfHere.filter((name) => /^[\x20-\x7e]+$/.test(name)).map((name) => `attachment; filename="${name}"`),
  "attachment; filename*=UTF-8''..%2F..%2Fsheaf-escaped",
  "attachment; filename*=UTF-8''..%5C..%5Csheaf%00-escaped%0D%0A",
  "attachment; filename*=UTF-8''%E2%80%AEgpj.exe",
  "attachment; filename*=UTF-8''%FF%FE.txt",
  latin1('attachment; filename="größe €.txt"'),
  'attachment; filename="gr\xf6\xdfe.txt"',
  'attachment; filename="=?UTF-8?B?Li4vLi4vZXZpbA==?="',
  `attachment; filename="${'x'.repeat(5_000)}.pdf"`,
  `attachment; ${'filename="a";'.repeat(200)}`,
  'attachment; filename="CON"',
  'attachment; filename="same.tar.gz"',
  `${';'.repeat(7_000)}filename=x`,
]

/** Names as the last segment of a URL's path. */
const paths = [
  '..%2f..%2fsheaf-escaped',
  '..%5c..%5csheaf-escaped',
  '%2ftmp%2fsheaf-escaped',
  'C%3A%5Csheaf-escaped',
  '%00%0d%0a.txt',
  '%E2%80%AEgpj.exe',
  '%ff%fe%zz.txt',
  'gr%C3%B6%C3%9Fe.txt',
  'A%CC%8Angstro%CC%88m',
  'NUL',
  'same.tar.gz',
  'x'.repeat(3_000),
  '%F0%9F%98%80'.repeat(100),
  'query.php?name=../../sheaf-escaped#../../x',
]

const bodyAt = (index: number) => Buffer.from(`the body of entry ${index}`)

function manifestOf(origin: Origin): EntryInput[] {
  const serve = (path: string, index: number, headers = {}) =>
    origin.serve(path, bytes(bodyAt(index), { 'content-type': 'x/unknown', ...headers }))
  const at = (list: number, n: number) => [0, requested.length, requested.length + dispositions.length][list]! + n
  return [
    ...requested.map((name, n) => ({ url: serve(`/r${n}`, at(0, n)), name })),
    ...dispositions.map((value, n) => serve(`/d${n}`, at(1, n), { 'content-disposition': value })),
    ...paths.map((path, n) => serve(`/p${n}/*`, at(2, n)).replace('*', path)),
  ]
}

const extractors = {
  zip: {
    unzip: ['unzip', '-q', 'PATH', '-d', 'TARGET'],
    bsdtar: ['bsdtar', '-xf', 'PATH', '-C', 'TARGET'],
    '7z': ['7z', 'x', '-bd', '-oTARGET', 'PATH'],
    python: ['python3', '-m', 'zipfile', '-e', 'PATH', 'TARGET'],
  },
  tar: {
    'GNU tar': ['tar', '-xf', 'PATH', '-C', 'TARGET', '--no-same-owner'],
    bsdtar: ['bsdtar', '-xf', 'PATH', '-C', 'TARGET'],
  },
} as const

async function extract(command: readonly string[], path: string, target: string): Promise<void> {
  const [program, ...parameters] = command.map((word) => word.replace('PATH', path).replace('TARGET', target))
  await run(program!, parameters, { env: { ...process.env, LC_ALL: 'C.UTF-8' } })
}

async function filesBelow(directory: string): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>()
  for (const each of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(each.parentPath, each.name)
    if (each.isDirectory()) continue
    expect(each.isFile()).toBe(true)
    found.set(relative(directory, path), await readFile(path))
  }
  return found
}

it.each(['zip', 'tar'] as const)(
  'are extracted from a %s by every program under exactly the reported names',
  async (format) => {
    const server = await world.start()
    const archiveKey = newArchiveKey()
    const entries = manifestOf(world.origin)
    const complete = await completed(watch(world.client(server.url).createArchive({ archiveKey, entries, format })).end)
    expect(complete).toMatchObject({ failedEntries: 0, sealedEntries: entries.length })
    await using caller = call('http', server.url)
    const told = (await caller.trpc.listEntries.query({ archiveKey, limit: 1000 })).entries
    const wanted = new Map(told.map(({ name, index }) => [name!, bodyAt(index)]))
    expect(wanted.size).toBe(entries.length)

    await using directory = await tempDirectory()
    const path = join(directory.path, `archive.${format}`)
    await writeFile(path, (await ask(server.url + complete.href)).body)
    if (format === 'zip') await verifyZip(path)
    for (const [program, command] of Object.entries(extractors[format])) {
      // Deep enough that a file which escapes can be found.
      const target = join(directory.path, program.replace(' ', '-'), 'a', 'b', 'c')
      await mkdir(target, { recursive: true })
      await extract(command, path, target)
      const found = await filesBelow(target)
      expect([program, [...found.keys()].sort()]).toEqual([program, [...wanted.keys()].sort()])
      for (const [name, body] of wanted)
        expect([program, name, String(found.get(name))]).toEqual([program, name, String(body)])
    }
    const all = await readdir(directory.path, { recursive: true, withFileTypes: true })
    const outside = all
      .filter((each) => each.isFile() && !/\/a\/b\/c(\/|$)/.test(each.parentPath))
      .map(({ name }) => name)
    expect(outside).toEqual([`archive.${format}`])
    expect((await readdir('/tmp')).filter((name) => name.includes('sheaf-escaped'))).toEqual([])
  },
)

/** Each archive name, and the name that its file must have. */
const archiveNames = [
  ['a"; filename=evil.exe; x="', 'a_; filename=evil.exe; x=_.zip'],
  ['a\r\nSet-Cookie: evil=1\r\n\r\n<script>', 'aSet-Cookie_ evil=1_script_.zip'],
  ['a\\"b', 'a__b.zip'],
  ['../../etc/passwd', '.._.._etc_passwd.zip'],
  ["a'b%0D%0Ac", "a'b%0D%0Ac.zip"],
  ['Größe €', 'Größe €.zip'],
  ['日本語 😀', '日本語 😀.zip'],
  ['lone \ud800\u202e\u0000', 'lone.zip'],
  ['', 'archive.zip'],
] as const

/** RFC 6266 section 4.1: a token or a quoted ASCII string, then optionally the form of RFC 8187, and nothing else. */
const DISPOSITION =
  /^attachment; filename=([\w!#$&+.^`|~'%-]+|"(?:[^"\\\x00-\x1f\x7f-\uffff]|\\[\x20-\x7e])*")(?:; filename\*=UTF-8''([\w!#$&+.^`|~%-]+))?$/

it('lead, as names of archives, to a header of one line that names one file', async () => {
  const server = await world.start()
  await using caller = call('http', server.url)
  for (const [name, fileName] of archiveNames) {
    const entries = [`${world.origin.url}/bytes/10/x`]
    const archiveKey = newArchiveKey()
    const accepted = await caller.trpc.submitArchive.mutate({ archiveKey, entries, name })
    expect(accepted.name).toBe(fileName)
    await caller.watch({ archiveKey }).ended
    const { headers, status } = await ask(server.url + accepted.href)
    expect([name, status, headers['set-cookie']]).toEqual([name, 200, undefined])
    const [line, plain, extended] = DISPOSITION.exec(headers['content-disposition']!) ?? []
    expect(line).toBe(headers['content-disposition'])
    expect(extended === undefined ? plain!.replaceAll(/^"|"$/g, '') : decodeURIComponent(extended)).toBe(fileName)
  }
})
