// From a URL to a file: it stands whole and verified under its name, or it does not exist.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { Agent } from 'undici'
import { describe, expect, it } from 'vitest'
import { safeFileName } from '../../client-node/save.ts'
import { assertWritable, type StoreOptions, storeArchive } from '../../client-node/store.ts'
import type { ArchiveFormat } from '../../contracts/archive.ts'
import type { CompleteEvent } from '../../contracts/events.ts'
import { type TempDirectory, tempDirectory } from '../support/temp.ts'
import { growing, type Script, sealed, startScripted, status } from './scripted-server.ts'
import { makeZip, patternBytes } from './zip-fixture.ts'

const run = promisify(execFile)
const zip = makeZip({ 'a.bin': patternBytes(200_000), 'ordner/ü.bin': patternBytes(70_000, 2), empty: Buffer.alloc(0) })

interface Given extends StoreOptions {
  scripts: Script[]
  format?: ArchiveFormat
  target: Parameters<typeof storeArchive>[2]
}

async function store({ scripts, format = 'zip', target, ...options }: Given) {
  await using server = await startScripted(...scripts)
  const agent = new Agent()
  try {
    return await storeArchive(server.url, format, target, agent, { giveUpAfterMs: 2_000, ...options })
  } finally {
    await agent.destroy()
  }
}

async function tarOf(directory: TempDirectory): Promise<Buffer> {
  await writeFile(join(directory.path, 'member'), patternBytes(5_000))
  const { stdout } = await run('tar', ['-c', '-C', directory.path, 'member'], { encoding: 'buffer' })
  return stdout
}

const completeOf = (bytes: Buffer, more: Partial<CompleteEvent> = {}) =>
  Promise.resolve({ sizeBytes: bytes.length, etag: '"id.1"', ...more } as CompleteEvent)

describe('an archive', () => {
  it('gets its name when it is whole, even after a cut, and every entry is reported', async () => {
    await using directory = await tempDirectory()
    const target = join(directory.path, 'out.zip')
    const entries: string[] = []
    const stored = await store({
      scripts: [growing(zip.bytes, { until: 100_000, after: 'reset' }), growing(zip.bytes, { from: 100_000 })],
      target,
      complete: completeOf(zip.bytes),
      onEntry: ({ name }) => entries.push(name),
    })
    expect(stored).toEqual({ path: target, sizeBytes: zip.bytes.length, etag: '"id.1"' })
    expect(entries).toEqual(['a.bin', 'ordner/ü.bin', 'empty'])
    expect((await readFile(target)).equals(zip.bytes)).toBe(true)
    expect(await readdir(directory.path)).toEqual(['out.zip'])
    await run('unzip', ['-tqq', target])
  })

  it('that is shorter after a new start contains nothing of the first attempt', async () => {
    await using directory = await tempDirectory()
    const target = join(directory.path, 'out.zip')
    const scripts = [
      growing(patternBytes(3_000_000), { until: 2_500_000, after: 'reset' }),
      sealed(zip.bytes, { etag: '"id.2"' }),
    ]
    await store({ scripts, target })
    expect((await readFile(target)).equals(zip.bytes)).toBe(true)
  })

  const damaged = (offset: number) => {
    const bytes = Buffer.from(zip.bytes)
    bytes[offset]! ^= 1
    return bytes
  }
  const two = { a: patternBytes(10), b: patternBytes(10) }
  it.each<[string, Buffer]>([
    ['a body', damaged(zip.headers[0]! + 1000)],
    ['the last byte of a body', damaged(zip.headers[2]! - 1)],
    ['a name in a local header', damaged(zip.headers[1]! + 31)],
    ['a checksum in a local header', damaged(zip.headers[0]! + 15)],
    ['a size in a local header', damaged(zip.headers[1]! + 18)],
    ['the signature of a local header', damaged(zip.headers[1]!)],
    ['a checksum in the directory', damaged(zip.directory + 17)],
    ['an offset in the directory', damaged(zip.directory + 42)],
    ['the end record', damaged(zip.bytes.length - 12)],
    ['its end', zip.bytes.subarray(0, -1)],
    ['its directory', zip.bytes.subarray(0, zip.directory)],
    ['the place between entries', makeZip(two, { gap: { a: Buffer.from('gap') } }).bytes],
    ['the place before the directory', makeZip(two, { gap: { b: Buffer.from('gap') } }).bytes],
    ['everything', Buffer.alloc(0)],
  ])('that is damaged in %s is rejected', async (_, bytes) => {
    await using directory = await tempDirectory()
    const target = join(directory.path, 'out.zip')
    await writeFile(target, 'what was there before')
    await expect(store({ scripts: [growing(bytes)], target })).rejects.toMatchObject({ code: 'CORRUPT' })
    expect(await readdir(directory.path)).toEqual(['out.zip'])
    expect(await readFile(target, 'utf8')).toBe('what was there before')
  })

  it('that is whole but not the completed one is rejected', async () => {
    await using directory = await tempDirectory()
    const target = join(directory.path, 'out.zip')
    const larger = completeOf(zip.bytes, { sizeBytes: zip.bytes.length + 1 })
    await expect(store({ scripts: [sealed(zip.bytes)], target, complete: larger })).rejects.toMatchObject({
      code: 'CORRUPT',
    })
    const newer = completeOf(zip.bytes, { etag: '"id.2"' })
    await expect(store({ scripts: [sealed(zip.bytes)], target, complete: newer })).rejects.toMatchObject({
      code: 'CORRUPT',
    })
    expect(await readdir(directory.path)).toEqual([])
  })

  it('may have deflated entries, which are inflated for the check', async () => {
    await using directory = await tempDirectory()
    const target = join(directory.path, 'out.zip')
    const text = Buffer.alloc(3_000_000, 'again and again\n')
    const members = { 'a.txt': text, 'b.bin': patternBytes(200_000), empty: Buffer.alloc(0) }
    const { bytes, headers, directory: directoryAt } = makeZip(members, { deflate: true })
    const entries: number[] = []
    await store({ scripts: [growing(bytes)], target, onEntry: ({ sizeBytes }) => entries.push(sizeBytes) })
    expect(entries).toEqual([3_000_000, 200_000, 0])
    await run('unzip', ['-tqq', target])
    for (const damage of [
      (copy: Buffer) => (copy[headers[0]! + 60]! ^= 1),
      (copy: Buffer) => (copy[headers[1]! - 1]! ^= 1),
      // Both headers give the first entry a size that is one byte too small, or too large.
      ...[-1, 1].map((change) => (copy: Buffer) => {
        copy.writeUInt32LE(text.length + change, headers[0]! + 22)
        copy.writeUInt32LE(text.length + change, directoryAt + 24)
      }),
    ]) {
      const copy = Buffer.from(bytes)
      damage(copy)
      await expect(store({ scripts: [growing(copy)], target })).rejects.toMatchObject({ code: 'CORRUPT' })
    }
  })

  it('is checked against its SHA-256 if the server sends one, in a file and in a stream', async () => {
    const right = createHash('sha256').update(zip.bytes).digest('hex')
    await using directory = await tempDirectory()
    const target = join(directory.path, 'out.zip')
    const scripts = () => [
      growing(zip.bytes, { until: 100_000, after: 'reset' }),
      growing(zip.bytes, { from: 100_000 }),
    ]
    await store({ scripts: scripts(), target, complete: completeOf(zip.bytes, { sha256: right }) })
    const wrong = completeOf(zip.bytes, { sha256: right.replace(/^./, (digit) => (digit === '0' ? '1' : '0')) })
    await expect(store({ scripts: scripts(), target, complete: wrong })).rejects.toMatchObject({ code: 'CORRUPT' })
    const stream = () => new PassThrough({ highWaterMark: 1_000_000 })
    const complete = completeOf(zip.bytes, { sha256: right })
    await store({ scripts: scripts(), target: stream(), complete, hashed: true })
    const stored = store({ scripts: scripts(), target: stream(), complete: wrong, hashed: true })
    await expect(stored).rejects.toMatchObject({ code: 'CORRUPT' })
  })

  it('is rejected without the SHA-256 that was asked for, or without the ETag of the completed archive', async () => {
    await using directory = await tempDirectory()
    const target = join(directory.path, 'out.zip')
    const complete = completeOf(zip.bytes)
    for (const to of [target, new PassThrough({ highWaterMark: 1_000_000 })]) {
      const unhashed = store({ scripts: [growing(zip.bytes)], target: to, complete, hashed: true })
      await expect(unhashed).rejects.toMatchObject({ code: 'CORRUPT' })
      const other = completeOf(zip.bytes, { etag: '"another.1"' })
      const renamed = store({ scripts: [growing(zip.bytes)], target: to, complete: other })
      await expect(renamed).rejects.toMatchObject({ code: 'CORRUPT' })
    }
    expect(await readdir(directory.path)).toEqual([])
  })

  it('of no entries is whole', async () => {
    await using directory = await tempDirectory()
    const target = join(directory.path, 'out.zip')
    expect(await store({ scripts: [sealed(makeZip({}).bytes)], target })).toMatchObject({ sizeBytes: 22 })
  })

  it('may be a tar or a tar.gz, and is checked to its end', async () => {
    await using directory = await tempDirectory()
    await using out = await tempDirectory()
    const tar = await tarOf(directory)
    const cut = tar.subarray(0, 5_632)
    const gzip = gzipSync(tar)
    // A date before 1970 is negative. Readers stop there, and lose everything behind it.
    const damaged = Buffer.from(tar)
    damaged.write('000000000-1 ', 136, 'latin1')
    const broken = Buffer.from(gzip)
    broken[gzip.length - 8]! ^= 1
    const rows: [ArchiveFormat, Buffer, boolean][] = [
      ['tar', tar, true],
      ['tar', cut, false],
      ['tar', tar.subarray(0, -1), false],
      ['tar', damaged, false],
      ['tar', gzip, false],
      ['tar', Buffer.alloc(0), false],
      ['tar.gz', gzipSync(Buffer.alloc(0)), false],
      ['tar.gz', gzip, true],
      ['tar.gz', gzip.subarray(0, -1), false],
      ['tar.gz', broken, false],
      ['tar.gz', gzipSync(cut), false],
      ['tar.gz', tar, false],
      ['tar.gz', gzipSync(damaged), false],
    ]
    for (const [format, bytes, good] of rows) {
      const target = join(out.path, `out.${format}`)
      const stored = store({ scripts: [growing(bytes)], format, target })
      if (good) expect(await stored).toMatchObject({ path: target, sizeBytes: bytes.length })
      else await expect(stored).rejects.toMatchObject({ code: 'CORRUPT' })
    }
  })
})

describe('a target', () => {
  it('keeps its content if the download fails or is given up', async () => {
    await using directory = await tempDirectory()
    const target = join(directory.path, 'out.zip')
    await writeFile(target, 'before')
    await expect(store({ scripts: [status(404)], target })).rejects.toMatchObject({ code: 'MISSING' })
    const ending = new AbortController()
    const givenUp = store({
      scripts: [growing(zip.bytes, { until: 100_000, after: 'hang' })],
      target,
      signal: ending.signal,
      onProgress: () => ending.abort(new Error('enough')),
    })
    await expect(givenUp).rejects.toThrow('enough')
    expect(await readdir(directory.path)).toEqual(['out.zip'])
    expect(await readFile(target, 'utf8')).toBe('before')
  })

  it('is replaced, through a link if it is one', async () => {
    await using directory = await tempDirectory()
    const target = join(directory.path, 'out.zip')
    const link = join(directory.path, 'link.zip')
    await writeFile(target, 'before')
    await symlink('out.zip', link)
    expect(await store({ scripts: [sealed(zip.bytes)], target: link })).toMatchObject({ path: target })
    expect((await lstat(link)).isSymbolicLink()).toBe(true)
    expect((await readFile(target)).equals(zip.bytes)).toBe(true)
  })

  it('gets a number in its name if it must not be replaced', async () => {
    await using directory = await tempDirectory()
    const paths: string[] = []
    for (const name of ['a.zip', 'a.zip', 'a.zip', 'a.b.tar.gz.zip', 'a.b.tar.gz.zip']) {
      const target = join(directory.path, name)
      paths.push((await store({ scripts: [sealed(zip.bytes)], target, ifTaken: 'number' })).path ?? '')
    }
    expect(paths.map((path) => path.slice(directory.path.length + 1))).toEqual([
      'a.zip',
      'a (2).zip',
      'a (3).zip',
      'a.b.tar.gz.zip',
      'a.b.tar.gz (2).zip',
    ])
    expect(await readdir(directory.path)).toHaveLength(5)
  })

  it('may have a name of the maximal length', async () => {
    await using directory = await tempDirectory()
    const target = join(directory.path, `${'ü'.repeat(125)}.zip`)
    expect(await store({ scripts: [sealed(zip.bytes)], target })).toMatchObject({ path: target })
  })

  it('may be a stream, which gets the bytes as they come and is left open', async () => {
    const stream = new PassThrough()
    const all = buffer(stream)
    const stored = await store({ scripts: [sealed(zip.bytes)], target: stream, complete: completeOf(zip.bytes) })
    expect(stored.path).toBeNull()
    expect(stream.writableEnded).toBe(false)
    stream.end()
    expect((await all).equals(zip.bytes)).toBe(true)
  })

  it('that is a stream cannot take back what it got', async () => {
    const stream = new PassThrough().resume()
    const scripts = [growing(zip.bytes, { until: 100_000, after: 'reset' }), sealed(zip.bytes, { etag: '"id.2"' })]
    await expect(store({ scripts, target: stream })).rejects.toMatchObject({ code: 'CHANGED' })
  })

  it('that is a stream may go away', async () => {
    const stream = new PassThrough()
    stream.once('data', () => stream.destroy(new Error('EPIPE')))
    await expect(store({ scripts: [sealed(zip.bytes)], target: stream })).rejects.toMatchObject({ code: 'NOT_WRITTEN' })
  })

  // Not a real device, because a bug here would replace /dev/null for the whole machine.
  it('that is a pipe stays one and gets the bytes as they come, as a device would', async () => {
    await using directory = await tempDirectory()
    const target = join(directory.path, 'pipe')
    await run('mkfifo', [target])
    const [stored, read] = await Promise.all([store({ scripts: [sealed(zip.bytes)], target }), readFile(target)])
    expect(stored).toMatchObject({ path: null })
    expect(read.equals(zip.bytes)).toBe(true)
    expect((await lstat(target)).isFIFO()).toBe(true)
  })

  it('is refused early if it can never be written', async () => {
    await using directory = await tempDirectory()
    await mkdir(join(directory.path, 'sub'))
    await expect(assertWritable(join(directory.path, 'sub'))).rejects.toThrow('is a directory')
    await expect(assertWritable(join(directory.path, 'no', 'out.zip'))).rejects.toThrow('there is no directory')
    await assertWritable(join(directory.path, 'out.zip'))
  })
})

describe('a name from the server', () => {
  it.each([
    ['archive.zip', 'archive.zip'],
    ['bücher (1).zip', 'bücher (1).zip'],
    ['../../etc/passwd', '_.._etc_passwd'],
    ['/etc/passwd', '_etc_passwd'],
    ['..\\x', '_x'],
    ['C:\\x.zip', 'C__x.zip'],
    ['.bashrc', 'bashrc'],
    ['..', 'archive.zip'],
    ['', 'archive.zip'],
    ['a\x1b[2J\n.zip', 'a_[2J_.zip'],
    ['a\u202epiz.exe', 'a_piz.exe'],
  ])('%j becomes %j here', (name, file) => {
    expect(safeFileName({ name, format: 'zip' })).toBe(file)
  })
})
