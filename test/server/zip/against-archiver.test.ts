// Our zip and archiver's of the same entries: other programs read the same in both, except for the differences listed here.
import { execFile } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { ZipArchive } from 'archiver'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bytes } from '../../support/behaviours.ts'
import { openHouse } from '../../support/building.ts'
import { bodyOf, startOrigin } from '../../support/origin.ts'
import { tempDirectory } from '../../support/temp.ts'
import { verifyZip } from '../../support/unpack.ts'

const run = promisify(execFile)

const MiB = 2 ** 20
const entries = [
  { name: 'plain.txt', sizeBytes: 5, date: 'Thu, 02 Jan 2020 03:04:06 GMT' },
  { name: 'folder/größe €.txt', sizeBytes: 70_000, date: 'Wed, 29 Feb 2012 23:59:59 GMT' },
  { name: '日本語/😀.bin', sizeBytes: 1, date: 'Tue, 01 Jan 1980 00:00:00 GMT' },
  // archiver's last year is 2043. Ours is 2107, the last that the field can hold (records.test.ts).
  { name: 'empty', sizeBytes: 0, date: 'Thu, 31 Dec 2043 23:59:58 GMT' },
  { name: `${'deep/'.repeat(20)}large.tar.gz`, sizeBytes: 5 * MiB + 3, date: 'Mon, 15 Jul 2024 12:30:01 GMT' },
  { name: 'folder/of two mebibytes', sizeBytes: 2 * MiB, date: 'Mon, 15 Jul 2024 12:30:02 GMT' },
].map((entry, index) => ({ ...entry, body: bodyOf(entry.sizeBytes, index) }))

const READ = `
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    assert archive.testzip() is None
    print(json.dumps([{
        'name': i.filename, 'size': i.file_size, 'compressed': i.compress_size, 'crc': i.CRC, 'date': i.date_time,
        'method': i.compress_type, 'flags': i.flag_bits, 'system': i.create_system, 'version': i.create_version,
        'needs': i.extract_version, 'mode': i.external_attr >> 16, 'dos': i.external_attr & 0xffff,
        'internal': i.internal_attr, 'extra': i.extra.hex(), 'comment': i.comment.hex(), 'disk': i.volume,
    } for i in archive.infolist()]))
`

interface Read {
  name: string
  flags: number
  version: number
  needs: number
  dos: number
  [field: string]: unknown
}

const environment = { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8' }

async function read(path: string): Promise<Read[]> {
  return JSON.parse((await run('python3', ['-c', READ, path], { env: environment })).stdout) as Read[]
}

/** Lists the archive without its path. */
async function listing(path: string): Promise<string> {
  return (await run('unzip', ['-v', path], { env: environment })).stdout.replace(path, '')
}

async function packByArchiver(path: string, sourceOf: (body: Buffer) => Buffer | Readable): Promise<void> {
  const archive = new ZipArchive({ store: true })
  const written = pipeline(archive as unknown as Readable, createWriteStream(path))
  for (const { name, date, body } of entries) {
    archive.append(sourceOf(body), { name, date: new Date(date), mode: 0o644 })
  }
  await Promise.all([archive.finalize(), written])
}

let directory: Awaited<ReturnType<typeof tempDirectory>>
let ours: string
let fromBuffers: string
let fromStreams: string

beforeAll(async () => {
  directory = await tempDirectory()
  ours = join(directory.path, 'ours.zip')
  fromBuffers = join(directory.path, 'buffers.zip')
  fromStreams = join(directory.path, 'streams.zip')
  await using origin = await startOrigin()
  await using house = await openHouse()
  const { archiveId } = await house.make(
    entries.map(({ name, body, date }, index) => ({
      name,
      url: origin.serve(`/${index}`, bytes(body, { 'last-modified': date })),
    })),
  )
  await writeFile(ours, await house.bytes(archiveId))
  await packByArchiver(fromBuffers, (body) => body)
  await packByArchiver(fromStreams, (body) => Readable.from([body], { objectMode: false }))
})
afterAll(() => directory[Symbol.asyncDispose]())

const BIT_DESCRIPTOR = 1 << 3
const BIT_UTF8 = 1 << 11

describe.each(['buffers', 'streams'] as const)('beside what archiver packs from %s, our zip', (source) => {
  const theirs = () => (source === 'buffers' ? fromBuffers : fromStreams)

  it('has the same listing in unzip: names, order, sizes, methods, dates, CRCs', async () => {
    const listed = await listing(ours)
    expect(listed).toBe(await listing(theirs()))
    for (const { name, sizeBytes, date } of entries) {
      const day = new Date(date).toISOString().slice(0, 16).replace('T', ' ')
      expect(listed).toMatch(new RegExp(`^ *${sizeBytes} +Stored .* ${day} .* ${name}$`, 'm'))
    }
  })

  it('has the same fields in python, except for flags, versions and a DOS attribute', async () => {
    const [mine, their] = [await read(ours), await read(theirs())]
    const others = ({ flags: _flags, version: _version, needs: _needs, dos: _dos, ...fields }: Read) => fields
    expect(mine.map(others)).toEqual(their.map(others))
    expect(mine.map(({ name }) => name)).toEqual(entries.map(({ name }) => name))
    for (const [index, entry] of mine.entries()) {
      const other = their[index]!
      // Ours marks every name as UTF-8; archiver only those that are not ASCII.
      const named = /[^\x20-\x7e]/.test(entry.name) ? BIT_UTF8 : 0
      expect([entry.flags, other.flags]).toEqual([BIT_UTF8, named | (source === 'streams' ? BIT_DESCRIPTOR : 0)])
      // Both are made by Unix. Ours says version 2.0 unless zip64 is needed, archiver always 4.5.
      expect([entry.version, other.version]).toEqual([20, 45])
      // APPNOTE 4.4.3.2 asks for 2.0 if there are folders. archiver says 1.0, and 2.0 for data descriptors.
      expect([entry.needs, other.needs]).toEqual([20, source === 'streams' ? 20 : 10])
      // archiver sets the archive bit of DOS. Both have the same Unix mode.
      expect([entry.dos, other.dos]).toEqual([0, 0x20])
    }
  })
})

it('can be read by every program, even as a stream, which archiver’s from streams cannot', async () => {
  await verifyZip(ours)
  await verifyZip(fromBuffers)
  await expect(verifyZip(fromStreams)).rejects.toThrow('only DEFLATED entries can have EXT descriptor')
})
