// What GNU tar and bsdtar read in our tars, from a file and from a pipe: long and non-ASCII names, sizes, dates, modes.
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bytes } from '../../support/behaviours.ts'
import { openHouse } from '../../support/building.ts'
import { bodyOf, startOrigin } from '../../support/origin.ts'
import { type TempDirectory, tempDirectory } from '../../support/temp.ts'

const run = promisify(execFile)
const environment = { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8' }

const date = 'Mon, 15 Jul 2024 12:30:01 GMT'
/** The name field of ustar holds 100 bytes and its prefix 155. Longer names need PAX records. */
const names = [
  'plain.txt',
  'größe €/日本語 😀.bin',
  'n'.repeat(100),
  'n'.repeat(101),
  `${'p'.repeat(155)}/${'n'.repeat(100)}`,
  `${'p'.repeat(156)}/${'n'.repeat(100)}`,
  `${'p'.repeat(155)}/${'m'.repeat(101)}`,
  `${'€'.repeat(85)}/${'ß'.repeat(127)}`,
  `${Array.from({ length: 3 }, (_, n) => `${n}`.repeat(250)).join('/')}/${'o'.repeat(255)}`,
  'empty',
  'a block',
  'and a byte',
  'large.bin',
]
const special: Record<string, number> = { empty: 0, 'a block': 512, 'and a byte': 513, 'large.bin': 3 * 2 ** 20 }
const files = names.map((name, index) => ({ name, body: bodyOf(special[name] ?? 10 + index, index) }))

const readers: Record<string, { list: string; extract: string }> = {
  'GNU tar': {
    list: 'tar --quoting-style=literal --full-time -tvf "$1"',
    extract: 'tar -xf "$1" -C "$2" --no-same-owner',
  },
  'GNU tar from a pipe': {
    list: 'cat "$1" | tar --quoting-style=literal --full-time -tv$3f -',
    extract: 'cat "$1" | tar -x$3f - -C "$2" --no-same-owner',
  },
  bsdtar: { list: 'bsdtar -tvf "$1"', extract: 'bsdtar -xf "$1" -C "$2"' },
  'bsdtar from a pipe': { list: 'cat "$1" | bsdtar -tvf -', extract: 'cat "$1" | bsdtar -xf - -C "$2"' },
}

describe.each(['tar', 'tar.gz'] as const)('a %s', (format) => {
  let directory: TempDirectory
  let path: string
  beforeAll(async () => {
    directory = await tempDirectory()
    path = join(directory.path, `archive.${format}`)
    await using origin = await startOrigin()
    await using house = await openHouse()
    const entries = files.map(({ name, body }, index) => ({
      name,
      url: origin.serve(`/${index}`, bytes(body, { 'last-modified': date })),
    }))
    const { archiveId } = await house.make(entries, { format })
    await writeFile(path, await house.bytes(archiveId))
  })
  afterAll(() => directory[Symbol.asyncDispose]())

  // GNU tar recognises gzip in a file, but not in a pipe.
  const gzip = format === 'tar.gz' ? 'z' : ''
  const sh = async (script: string, ...parameters: string[]) =>
    (await run('sh', ['-c', script, 'sh', ...parameters], { env: environment })).stdout

  it.each(Object.entries(readers))('is listed by %s in order, with sizes, dates and modes', async (reader, each) => {
    const lines = (await sh(each.list, path, '', gzip)).split('\n').slice(0, -1)
    const dates = reader.startsWith('GNU') ? '2024-07-15 12:30:01' : 'Jul 15  2024'
    expect(lines).toHaveLength(files.length)
    for (const [index, { name, body }] of files.entries()) {
      expect(lines[index]).toMatch(new RegExp(`^-rw-r--r-- .*\\s${body.length} ${dates} ${name}$`))
    }
  })

  it.each(Object.entries(readers))('is extracted by %s, byte for byte', async (_reader, each) => {
    await using target = await tempDirectory()
    await sh(each.extract, path, target.path, gzip)
    const found = (await sh('cd "$1" && find . -type f -printf "%P %TY-%Tm-%Td %TT\\n"', target.path)).split('\n')
    // `find` prints fractions of a second.
    const wanted = files.map(({ name }) => `${name} 2024-07-15 12:30:01.0000000000`)
    expect(found.slice(0, -1).sort()).toEqual(wanted.sort())
    for (const { name, body } of files) expect((await readFile(join(target.path, name))).equals(body)).toBe(true)
  })
})
