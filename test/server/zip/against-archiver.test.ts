// Our zip beside archiver's of the same entries: what other programs read of the two is the same, but for what is listed here.
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
  // archiver ends the years at 2043, ours at the 2107 that the field can hold (records.test.ts).
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

/** Without the path in it. */
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

  it('is listed the same by unzip: names, order, sizes, methods, dates, CRCs', async () => {
    const listed = await listing(ours)
    expect(listed).toBe(await listing(theirs()))
    for (const { name, sizeBytes, date } of entries) {
      const day = new Date(date).toISOString().slice(0, 16).replace('T', ' ')
      expect(listed).toMatch(new RegExp(`^ *${sizeBytes} +Stored .* ${day} .* ${name}$`, 'm'))
    }
  })

  it('is read the same by python, field by field, but for flags, versions and an attribute of DOS', async () => {
    const [mine, their] = [await read(ours), await read(theirs())]
    const others = ({ flags: _flags, version: _version, needs: _needs, dos: _dos, ...fields }: Read) => fields
    expect(mine.map(others)).toEqual(their.map(others))
    expect(mine.map(({ name }) => name)).toEqual(entries.map(({ name }) => name))
    for (const [index, entry] of mine.entries()) {
      const other = their[index]!
      // Ours says of every name that it is UTF-8; archiver only of those that are not ASCII.
      const named = /[^\x20-\x7e]/.test(entry.name) ? BIT_UTF8 : 0
      expect([entry.flags, other.flags]).toEqual([BIT_UTF8, named | (source === 'streams' ? BIT_DESCRIPTOR : 0)])
      // Both are Unix's. What made it speaks 2.0 unless zip64 is needed, archiver's always 4.5.
      expect([entry.version, other.version]).toEqual([20, 45])
      // 4.4.3.2: 2.0 for what lies in a folder. archiver says 1.0, and 2.0 for data descriptors.
      expect([entry.needs, other.needs]).toEqual([20, source === 'streams' ? 20 : 10])
      // The archive bit of DOS, beside the mode of Unix that both have.
      expect([entry.dos, other.dos]).toEqual([0, 0x20])
    }
  })
})

it('is read by all that read, also those that take it as a stream, as archiver’s from streams is not', async () => {
  await verifyZip(ours)
  await verifyZip(fromBuffers)
  await expect(verifyZip(fromStreams)).rejects.toThrow('only DEFLATED entries can have EXT descriptor')
})
