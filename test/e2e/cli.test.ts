// The command line as a user runs it: a child process against the real server and a scripted origin.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ArchivePlan } from '../../contracts/api.ts'
import type { ArchiveEvent } from '../../contracts/events.ts'
import { bytes, drip } from '../support/behaviours.ts'
import { bodyOf, type Origin, startOrigin } from '../support/origin.ts'
import { startServer } from '../support/server.ts'
import { type TempDirectory, tempDirectory } from '../support/temp.ts'
import { readTar, readZip, verifyZip } from '../support/unpack.ts'
import { until } from '../support/wait.ts'

const root = join(import.meta.dirname, '../..')
const TIMEOUT_MS = 60_000

let server: Awaited<ReturnType<typeof startServer>>
let origin: Origin

beforeAll(async () => {
  origin = await startOrigin()
  server = await startServer()
}, TIMEOUT_MS)

afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
  await origin?.[Symbol.asyncDispose]()
}, TIMEOUT_MS)

interface RunOptions {
  cwd: string
  stdin?: string
}

/** Starts the CLI. `done` resolves when it has ended and all its output has been read. */
function start(argv: string[], { cwd, stdin }: RunOptions) {
  const program = ['--import', join(root, 'server/require-node.js'), join(root, 'client-node/cli/cli.ts')]
  const child = spawn(process.execPath, [...program, ...argv], {
    cwd,
    env: { ...process.env, SHEAF_SERVER: server.url, NO_COLOR: '1', FORCE_COLOR: undefined },
    timeout: TIMEOUT_MS,
  })
  child.stdin.end(stdin)
  const exit = new Promise<number | null>((resolve) => child.on('close', resolve))
  // A test may close standard output itself, as `head` does.
  const stdoutText = text(child.stdout).catch(() => '')
  const done = Promise.all([exit, stdoutText, text(child.stderr)]).then(([code, stdout, stderr]) => ({
    code,
    stdout,
    stderr,
  }))
  return { child, done }
}

const sheaf = (argv: string[], options: RunOptions) => start(argv, options).done

function urlsOf(sizes: readonly number[]): string[] {
  return sizes.map((size, index) => `${origin.url}/bytes/${size}/${index}.bin`)
}

const jsonLines = (stdout: string) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as ArchiveEvent)

/** A URL whose body begins and then stalls. */
function stallingUrl(path: string): string {
  return origin.serve(path, async (exchange) => {
    await exchange.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n', 'x')
    await exchange.gone()
  })
}

describe('sheaf get', { timeout: TIMEOUT_MS }, () => {
  it('puts every URL into a sound zip, in order, and exits with 0', async () => {
    await using directory = await tempDirectory()
    const sizes = [0, 1, 100_000, 3_000_000, 17]
    const { code, stderr, stdout } = await sheaf(['get', ...urlsOf(sizes), '-o', 'out.zip'], { cwd: directory.path })
    expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: '' })
    expect(stderr).toMatch(/^out\.zip: 5 entries, 3\.0 MiB in /m)
    expect(await readdir(directory.path)).toEqual(['out.zip'])
    await verifyZip(join(directory.path, 'out.zip'))
    const members = await readZip(join(directory.path, 'out.zip'))
    expect(members.map(({ size }) => size)).toEqual(sizes)
    for (const [index, { body }] of members.entries()) {
      expect(body.equals(bodyOf(sizes[index]!, String(index)))).toBe(true)
    }
  })

  it('compresses, adds a report and prints the SHA-256 if asked to, and checks the saved file against all of it', async () => {
    await using directory = await tempDirectory()
    const page = origin.serve('/page.txt', bytes(Buffer.alloc(500_000, 'again\n'), { 'content-type': 'text/plain' }))
    const argv = ['get', page, `${origin.url}/bytes/5/a?key=1`, '--compress', 'auto', '--report', '--sha256', '--json']
    const { code, stdout, stderr } = await sheaf([...argv, '-o', 'out.zip'], { cwd: directory.path })
    expect(code, stderr).toBe(0)
    const path = join(directory.path, 'out.zip')
    const archive = await readFile(path)
    const complete = jsonLines(stdout).at(-1)
    expect(complete).toMatchObject({ sha256: createHash('sha256').update(archive).digest('hex') })
    expect(archive.length).toBeLessThan(10_000)
    await verifyZip(path)
    const members = await readZip(path)
    expect(members.map(({ name, size }) => [name, size])).toEqual([
      ['page.txt', 500_000],
      ['a', 5],
      ['sheaf-report.json', expect.any(Number)],
    ])
    expect(members[2]!.body.toString()).not.toContain('key=1')
  })

  it('takes URLs from standard input and from lists, with names', async () => {
    await using directory = await tempDirectory()
    const [a, b, c] = urlsOf([10, 20, 30])
    await writeFile(join(directory.path, 'list.json'), JSON.stringify([{ url: b, name: 'folder/two.bin' }]))
    const stdin = `# the third\n\n${c}\tthree.bin\n`
    const argv = ['get', a!, '-i', 'list.json', '-i', '-', '-o', 'out.zip', '--quiet']
    expect(await sheaf(argv, { cwd: directory.path, stdin })).toEqual({ code: 0, stdout: '', stderr: '' })
    const members = await readZip(join(directory.path, 'out.zip'))
    expect(members.map(({ name }) => name)).toEqual(['0.bin', 'folder/two.bin', 'three.bin'])
  })

  it('reads UTF-16, line ends of CR alone and CSV, says what it ignored, and exits with 3 then', async () => {
    await using directory = await tempDirectory()
    const cwd = directory.path
    const [a, b, c, d] = urlsOf([10, 20, 30, 40])
    const utf16 = Buffer.from(`\ufeff"${a}"\r\n${b}\tzwei ü.bin\r\n`, 'utf16le')
    await writeFile(join(cwd, 'utf16.txt'), utf16)
    await writeFile(join(cwd, 'cr.txt'), `${c}\r# a comment\rno URL at all\r`)
    await writeFile(join(cwd, 'table.csv'), `Name,URL\n"four, ""quoted"".bin",${d}\nfive.bin,ftp://a.example/5\n`)
    const argv = ['get', '-i', 'utf16.txt', '-i', 'cr.txt', '-i', 'table.csv', '-o', 'out.zip', '--quiet']
    const { code, stderr } = await sheaf(argv, { cwd })
    expect(stderr).toBe(
      'cr.txt: line 3: ignored: not a URL: no URL at all\n' +
        'table.csv: line 3: ignored: only http and https are fetched, not ftp: ftp://a.example/5\n',
    )
    expect(code).toBe(3)
    const members = await readZip(join(cwd, 'out.zip'))
    expect(members.map(({ name, size }) => [name, size])).toEqual([
      ['0.bin', 10],
      ['zwei ü.bin', 20],
      ['2.bin', 30],
      [expect.stringMatching(/^four, .quoted.\.bin$/), 40],
    ])
  })

  it('takes hosts without a scheme as https only if asked to', async () => {
    await using directory = await tempDirectory()
    const [a] = urlsOf([10])
    const options = { cwd: directory.path, stdin: `${a}\nfiles.example/b.zip\twanted.zip\n` }
    const plain = await sheaf(['plan', '-i', '-', '--no-head'], options)
    expect(plain).toMatchObject({
      code: 3,
      stderr: 'standard input: line 2: ignored: no scheme (--assume-https takes it): files.example/b.zip\n',
      stdout: expect.stringContaining('1 of 1 entries'),
    })
    const assumed = await sheaf(['plan', '-i', '-', '--no-head', '--assume-https'], options)
    expect(assumed).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^2 .*wanted\.zip$/m) })
  })

  it('makes nothing of a list with an ignored line after --on-failure abort', async () => {
    await using directory = await tempDirectory()
    const options = { cwd: directory.path, stdin: `${urlsOf([10])[0]}\nnonsense\n` }
    const { code, stderr } = await sheaf(['get', '-i', '-', '-o', 'out.zip', '--on-failure', 'abort'], options)
    expect(code).toBe(2)
    expect(stderr).toMatch(/line 2: ignored: not a URL: nonsense\nsheaf: no archive: a line was ignored/)
    expect(await readdir(directory.path)).toEqual([])
  })

  it.each(['tar', 'tar.gz'])('makes a %s if the output is called so', async (format) => {
    await using directory = await tempDirectory()
    const sizes = [1000, 200_000]
    const output = `out.${format}`
    const { code, stderr } = await sheaf(['get', ...urlsOf(sizes), '-o', output], { cwd: directory.path })
    expect(code, stderr).toBe(0)
    expect((await readTar(join(directory.path, output))).map(({ size }) => size)).toEqual(sizes)
  })

  it('says what could not be fetched, and exits with 3', async () => {
    await using directory = await tempDirectory()
    const missing = `${origin.url}/status/404`
    const argv = ['get', ...urlsOf([10]), missing, 'http://[bad/\u001b[2J', '-o', 'out.zip']
    const { code, stderr } = await sheaf(argv, { cwd: directory.path })
    expect(code, stderr).toBe(3)
    expect(stderr).toContain(`failed ${missing}: the origin answered with an error status 404 (HTTP_STATUS`)
    expect(stderr).toContain('failed http://[bad/\\x1b[2J: ')
    expect(stderr).toMatch(/^out\.zip: 1 of 3 entries, .*, 2 failed$/m)
    expect(await readZip(join(directory.path, 'out.zip'))).toHaveLength(1)
  })

  it('exits with 1 and makes no archive if all entries fail, or if one fails and --on-failure says so', async () => {
    await using directory = await tempDirectory()
    const missing = `${origin.url}/status/404`
    const cwd = directory.path
    const nothing = await sheaf(['get', missing, '-o', 'out.zip'], { cwd })
    expect(nothing.code).toBe(1)
    expect(nothing.stderr).toMatch(/^sheaf: no archive: nothing could be fetched \(NO_ENTRIES/m)
    const partly = await sheaf(['get', missing, ...urlsOf([10]), '-o', 'out.zip', '--on-failure', 'abort'], { cwd })
    expect(partly.code).toBe(1)
    expect(partly.stderr).toContain('(ENTRY_FAILED')
    expect(await readdir(directory.path)).toEqual([])
  })

  it('replaces no file if it chooses the name itself, but replaces the file that -o names', async () => {
    await using directory = await tempDirectory()
    const cwd = directory.path
    for (const _ of [1, 2]) await sheaf(['get', ...urlsOf([10]), '--name', 'mine', '-q'], { cwd })
    expect((await readdir(cwd)).toSorted()).toEqual(['mine (2).zip', 'mine.zip'])
    await writeFile(join(cwd, 'mine.zip'), 'before')
    await sheaf(['get', `${origin.url}/status/404`, '-o', 'mine.zip', '-q'], { cwd })
    expect(await readFile(join(cwd, 'mine.zip'), 'utf8')).toBe('before')
    await sheaf(['get', ...urlsOf([10]), '-o', 'mine.zip', '-q'], { cwd })
    expect(await readZip(join(cwd, 'mine.zip'))).toHaveLength(1)
  })

  it('prints each event as a line of JSON, and nothing else', async () => {
    await using directory = await tempDirectory()
    const argv = ['get', ...urlsOf([10, 20]), `${origin.url}/status/404`, '--json', '-o', 'out.zip']
    const { code, stdout, stderr } = await sheaf(argv, { cwd: directory.path })
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' })
    const events = jsonLines(stdout)
    expect(events[0]).toMatchObject({ type: 'accepted', totalEntries: 3, name: 'archive.zip' })
    expect(events.filter(({ type }) => type === 'file-failed')).toMatchObject([{ index: 2, code: 'HTTP_STATUS' }])
    expect(events.at(-1)).toMatchObject({ type: 'complete', sealedEntries: 2, failedEntries: 1 })
  })

  it('writes to standard output what it would have written to a file', async () => {
    await using directory = await tempDirectory()
    const { child, done } = start(['get', ...urlsOf([1000, 2000]), '-o', '-'], { cwd: directory.path })
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    expect((await done).code).toBe(0)
    await writeFile(join(directory.path, 'out.zip'), Buffer.concat(chunks))
    await verifyZip(join(directory.path, 'out.zip'))
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('cancels the archive on %s and leaves no file', async (name) => {
    await using directory = await tempDirectory()
    const path = `/stall-until-${name}`
    const argv = ['get', ...urlsOf([5000]), stallingUrl(path), '-o', 'out.zip', '--json']
    const { child, done } = start(argv, { cwd: directory.path })
    await until(() => origin.count(path) === 1, { what: 'the origin to be asked' })
    await until(async () => (await readdir(directory.path)).length === 1, { what: 'the part file' })
    child.kill(name)
    const { code, stdout, stderr } = await done
    expect(code, stderr).toBe(name === 'SIGINT' ? 130 : 143)
    expect(stderr).toBe('sheaf: cancelled\n')
    expect(jsonLines(stdout)[0]).toMatchObject({ type: 'accepted' })
    expect(await readdir(directory.path)).toEqual([])
    await until(() => origin.activeRequests === 0, { what: 'the server to hang up' })
  })

  it('goes on when the server is killed midway and comes back', async () => {
    await using directory = await tempDirectory()
    await using mortal = await startServer()
    const gate = Promise.withResolvers<void>()
    const last = origin.serve('/gate', async (exchange) => {
      await gate.promise
      await exchange.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast')
    })
    const argv = ['get', ...urlsOf([2_000_000, 3000]), last, '-o', 'out.zip', '--server', mortal.url, '-q']
    const { done } = start(argv, { cwd: directory.path })
    const partBytes = async () => {
      const [name] = await readdir(directory.path)
      return name === undefined ? 0 : (await stat(join(directory.path, name))).size
    }
    await until(async () => (await partBytes()) > 1_000_000, { what: 'bytes of the part file' })
    await mortal.kill()
    await mortal.restart()
    gate.resolve()
    expect(await done).toEqual({ code: 0, stdout: '', stderr: '' })
    await verifyZip(join(directory.path, 'out.zip'))
    const members = await readZip(join(directory.path, 'out.zip'))
    expect(members.map(({ body }) => body.length)).toEqual([2_000_000, 3000, 4])
    // Sealed entries are not fetched again.
    expect(origin.count('/bytes/2000000/0.bin')).toBe(1)
  })

  it('ends quietly, and cancels, when nobody reads its output any more', async () => {
    await using directory = await tempDirectory()
    // Slow, so that there are always more events: a closed pipe is only noticed by writing to it.
    const slow = origin.serve('/slow', drip(100, 50))
    const { child, done } = start(['get', slow, '-o', 'out.zip', '--json'], { cwd: directory.path })
    child.stdout.once('data', () => child.stdout.destroy())
    expect(await done).toMatchObject({ code: 1, stderr: '' })
    expect(await readdir(directory.path)).toEqual([])
    await until(() => origin.activeRequests === 0, { what: 'the server to hang up' })
  })

  it('says in one line that there is no server', async () => {
    await using directory = await tempDirectory()
    const argv = ['get', ...urlsOf([10]), '--server', 'http://127.0.0.1:9']
    const { code, stderr } = await sheaf(argv, { cwd: directory.path })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^sheaf: no sheaf server answers at http:\/\/127\.0\.0\.1:9 .*\n$/)
  })
})

describe('sheaf plan', { timeout: TIMEOUT_MS }, () => {
  it('says what would be in the archive and what would not, fetches nothing, and exits with 3', async () => {
    await using directory = await tempDirectory()
    const cwd = directory.path
    const missing = `${origin.url}/status/404`
    const urls = [...urlsOf([10, 200_000]), missing, 'no url\u001b[2J']
    const before = origin.requests.length
    const { code, stdout, stderr } = await sheaf(['plan', ...urls, '--name', 'trip'], { cwd })
    expect({ code, stderr }, stdout).toEqual({ code: 3, stderr: '' })
    expect(stdout.trimEnd().split('\n')).toEqual([
      '1       10 B  0.bin',
      '2  195.3 KiB  1.bin',
      `3          -  ${missing}: the origin answered with an error status 404 (HTTP_STATUS)`,
      expect.stringMatching(/^4 {10}- {2}no url\\x1b\[2J: .*\(BAD_URL\)$/),
      'trip.zip: 2 of 4 entries, 195.5 KiB, 2 would fail',
    ])
    const requests = origin.requests.slice(before)
    // What is missing by HEAD is asked for once more, for its first byte.
    const whole = requests.filter(({ method, headers }) => method !== 'HEAD' && headers.range !== 'bytes=0-0')
    expect([requests.length, whole]).toEqual([4, []])
    expect(await readdir(cwd)).toEqual([])
  })

  it('predicts in JSON the size that get then saves, and exits with 0', async () => {
    await using directory = await tempDirectory()
    const cwd = directory.path
    const stdin = urlsOf([0, 1000, 70_000]).join('\n')
    const planned = await sheaf(['plan', '-i', '-', '--json'], { cwd, stdin })
    expect(planned).toMatchObject({ code: 0, stderr: '' })
    const plan = JSON.parse(planned.stdout) as ArchivePlan
    expect(plan.entries.map(({ sizeBytes }) => sizeBytes)).toEqual([0, 1000, 70_000])
    await sheaf(['get', '-i', '-', '-o', 'out.zip', '-q'], { cwd, stdin })
    expect((await stat(join(cwd, 'out.zip'))).size).toBe(plan.predictedBytes)
  })

  it('sends no requests if that is not wanted', async () => {
    await using directory = await tempDirectory()
    const url = origin.serve('/plan/unasked.bin', drip(1, 1000))
    const { code, stdout } = await sheaf(['plan', url, '--no-head', '-f', 'tar'], { cwd: directory.path })
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: '1  ?  unasked.bin\narchive.tar: 1 of 1 entries, at least 0 B, 1 of unknown size\n',
    })
    expect(origin.count('/plan/unasked.bin')).toBe(0)
  })

  it('names the server that does not answer', async () => {
    await using directory = await tempDirectory()
    const argv = ['plan', ...urlsOf([10]), '--server', 'http://127.0.0.1:9']
    const { code, stderr, stdout } = await sheaf(argv, { cwd: directory.path })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^sheaf: no sheaf server answers at /)
  })
})

describe('wrong use', { timeout: TIMEOUT_MS }, () => {
  let directory: TempDirectory
  beforeAll(async () => {
    directory = await tempDirectory()
    await writeFile(join(directory.path, 'bad.txt'), '# nothing but this\nftp://a.example/1\n')
  })
  afterAll(async () => {
    await directory[Symbol.asyncDispose]()
  })

  it.each([
    [[], 'a command is missing'],
    [['get'], 'no URL and no list'],
    [['plan'], 'no URL and no list'],
    [['plan', '-i', 'bad.txt'], 'bad.txt: holds no URL'],
    [['get', 'http://x/', '--format', 'rar'], '--format is zip, tar or tar.gz'],
    [['get', 'http://x/', '-o', 'no/such/directory/out.zip'], 'there is no directory'],
    [['get', 'http://x/', '-o', '.'], 'is a directory'],
    [
      ['get', '-i', 'bad.txt'],
      'bad.txt: line 2: ignored: only http and https are fetched, not ftp: ftp://a.example/1\n',
    ],
    [['get', '-i', 'none.txt'], 'none.txt: ENOENT'],
  ])('%j exits with 2', async (argv, message) => {
    const { code, stderr, stdout } = await sheaf(argv, { cwd: directory.path })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
  })
})

describe('the small commands', { timeout: TIMEOUT_MS }, () => {
  it('echo a text, show the server info, help, and print the version', async () => {
    await using directory = await tempDirectory()
    const cwd = directory.path
    expect(await sheaf(['echo', 'hello', 'sheaf'], { cwd })).toEqual({ code: 0, stdout: 'hello sheaf\n', stderr: '' })
    const info = await sheaf(['info', '--json'], { cwd })
    expect(JSON.parse(info.stdout)).toMatchObject({ protocol: 1, formats: ['zip', 'tar', 'tar.gz'] })
    expect((await sheaf(['info'], { cwd })).stdout).toMatch(/^sheaf \S+ at http:.*, protocol 1\n/)
    expect((await sheaf(['get', '--help'], { cwd })).stdout).toMatch(/^Usage: sheaf get/)
    expect((await sheaf(['--version'], { cwd })).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})

describe('sheaf stress', { timeout: TIMEOUT_MS }, () => {
  const small = ['--clients', '6', '--rounds', '2', '--urls', '8', '--seed', '1']

  it('finds every byte right, even if clients leave or submit twice', async () => {
    await using directory = await tempDirectory()
    const stdin = urlsOf([0, 10, 1000, 100_000, 400_000, 70_000]).join('\n')
    const argv = ['stress', '-i', '-', ...small, '--double', '--leave', '0.3']
    const { code, stdout, stderr } = await sheaf(argv, { cwd: directory.path, stdin })
    expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^ *all( +\S+)+/m)
  })

  it('stops with 1 at a wrong byte', async () => {
    await using directory = await tempDirectory()
    let answers = 0
    // No two answers are equal, so the archive differs from what was fetched directly.
    const stdin = origin.serve('/changing', async (exchange) => {
      await exchange.write(`HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n${String(++answers).padStart(8)}`)
    })
    const { code, stderr } = await sheaf(['stress', '-i', '-', ...small], { cwd: directory.path, stdin })
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(/changing has 8 bytes/) })
  })
})
