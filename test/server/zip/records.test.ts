// The bytes of our zip records, checked field by field and with other people's programs.
import { execFile } from 'node:child_process'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  centralHeaderSize,
  endRecords,
  localHeaderSize,
  writeCentralHeader,
  writeLocalHeader,
  type ZipEntry,
} from '../../../server/zip/records.ts'

const run = promisify(execFile)
const GIB = 2 ** 30
const MAX_32 = 2 ** 32 - 1
const modifiedMs = Date.UTC(2024, 1, 29, 13, 37, 42)

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sheaf-records-'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

function entryOf(overrides: Partial<ZipEntry> = {}): ZipEntry {
  return {
    name: Buffer.from('a.txt'),
    crc32: 0x89abcdef,
    size: 5,
    deflatedSize: null,
    modifiedMs,
    offset: 7,
    ...overrides,
  }
}

function localHeader(entry: ZipEntry): Buffer {
  const target = Buffer.alloc(localHeaderSize(entry.name.length, entry))
  expect(writeLocalHeader(target, 0, entry)).toBe(target.length)
  return target
}

function centralHeader(entry: ZipEntry): Buffer {
  const target = Buffer.alloc(centralHeaderSize(entry.name.length, entry, entry.offset))
  expect(writeCentralHeader(target, 0, entry)).toBe(target.length)
  return target
}

function archiveOf(files: readonly { name: string; body: Buffer }[]): Buffer {
  const chunks: Buffer[] = []
  const entries: ZipEntry[] = []
  let offset = 0
  for (const { name, body } of files) {
    const entry = entryOf({ name: Buffer.from(name), crc32: crc32(body), size: body.length, offset })
    const header = localHeader(entry)
    chunks.push(header, body)
    entries.push(entry)
    offset += header.length + body.length
  }
  const central = entries.map(centralHeader)
  const directorySize = central.reduce((sum, header) => sum + header.length, 0)
  chunks.push(...central, endRecords({ entries: entries.length, directoryOffset: offset, directorySize }))
  return Buffer.concat(chunks)
}

/** Resolves to what the program printed. Rejects if its exit code is not 0. */
async function outputOf(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(program, args, {
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8' },
  })
  return stdout
}

const PYTHON_READ = `
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    assert sys.argv[2] == 'list' or archive.testzip() is None
    print(json.dumps([[i.filename, i.file_size, i.compress_size, i.header_offset, i.CRC, i.date_time, i.flag_bits,
        i.compress_type, i.create_system, i.create_version, i.extract_version, i.external_attr, i.internal_attr]
        for i in archive.infolist()]))
`
interface Read {
  name: string
  size: number
  compressed: number
  offset: number
  crc: number
  date: number[]
  rest: number[]
}
async function pythonRead(path: string, mode: 'test' | 'list'): Promise<Read[]> {
  const rows = JSON.parse(await outputOf('python3', '-c', PYTHON_READ, path, mode)) as never[][]
  return rows.map(([name, size, compressed, offset, crc, date, ...rest]) => ({
    name: name!,
    size: size!,
    compressed: compressed!,
    offset: offset!,
    crc: crc!,
    date: date!,
    rest,
  }))
}

const files = [
  { name: 'a.txt', body: Buffer.from('hello') },
  { name: 'folder/größe €.txt', body: Buffer.from('grüße') },
  { name: '日本語/😀.bin', body: Buffer.alloc(70_000, 'sheaf') },
  { name: 'empty', body: Buffer.alloc(0) },
]

describe('small archives', () => {
  it.each([
    ['one file', files.slice(0, 1)],
    ['files with folders, other scripts, and one without bytes', files],
    ['many files', Array.from({ length: 2000 }, (_, index) => ({ name: `f/${index}`, body: Buffer.from(`${index}`) }))],
  ])('pass the tests of unzip, 7z, bsdtar and python: %s', async (what, members) => {
    const path = join(directory, `${what}.zip`)
    await writeFile(path, archiveOf(members))
    const names = members.map(({ name }) => name)
    expect(await outputOf('unzip', '-tq', path)).toContain('No errors detected')
    expect(await outputOf('unzip', '-Z1', path)).toBe(`${names.join('\n')}\n`)
    expect(await outputOf('7z', 't', path)).toContain('Everything is Ok')
    expect(await outputOf('bsdtar', '-tf', path)).toBe(`${names.join('\n')}\n`)
    expect((await pythonRead(path, 'test')).map(({ name }) => name)).toEqual(names)
  })

  it('can be read as a stream, front to back, because they have no data descriptors', async () => {
    const path = join(directory, 'stream.zip')
    await writeFile(path, archiveOf(files))
    const listed = await outputOf('sh', '-c', 'cat "$1" | bsdtar -tf -', 'sh', path)
    expect(listed).toBe(`${files.map(({ name }) => name).join('\n')}\n`)
  })

  it('contain the date, the UTF-8 flag, Unix, regular file and 0644', async () => {
    const path = join(directory, 'fields.zip')
    await writeFile(path, archiveOf(files))
    for (const { date, rest } of await pythonRead(path, 'test')) {
      expect(date).toEqual([2024, 2, 29, 13, 37, 42])
      expect(rest).toEqual([0x0800, 0, 3, 20, 20, 0o100644 * 2 ** 16, 0])
    }
    expect(await outputOf('unzip', '-Z', path)).toMatch(/^-rw-r--r-- {2}2\.0 unx .* stor 24-Feb-29 13:37 a\.txt$/m)
  })

  it('without files are one end record, which unzip, 7z and python read as empty', async () => {
    const path = join(directory, 'none.zip')
    const archive = archiveOf([])
    await writeFile(path, archive)
    expect(archive.toString('hex')).toBe(`504b0506${'00'.repeat(18)}`)
    expect(await pythonRead(path, 'test')).toEqual([])
    expect(await outputOf('7z', 't', path)).toContain('Everything is Ok')
    expect(await outputOf('bsdtar', '-tf', path)).toBe('')
    await expect(outputOf('unzip', '-t', path)).rejects.toMatchObject({
      code: 1,
      stdout: expect.stringContaining('zipfile is empty'),
    })
  })
})

describe('the number of entries', () => {
  const empty = Buffer.alloc(0)

  it.each([65_534, 65_535, 65_536])('may be %i', { timeout: 120_000 }, async (count) => {
    const path = join(directory, `${count}.zip`)
    const archive = archiveOf(Array.from({ length: count }, (_, index) => ({ name: String(index), body: empty })))
    await writeFile(path, archive)
    const isZip64 = archive.readUInt32LE(archive.length - 42) === 0x07064b50
    expect(isZip64).toBe(count >= 65_535)
    expect(await outputOf('unzip', '-tqq', path)).toBe('')
    expect(await outputOf('unzip', '-Zh', path)).toContain(`number of entries: ${count}`)
    expect(await outputOf('7z', 't', path)).toContain(`Files: ${count}\n`)
    expect((await outputOf('bsdtar', '-tf', path)).match(/\n/g)).toHaveLength(count)
    const read = await pythonRead(path, 'test')
    expect(read).toHaveLength(count)
    expect(read.at(-1)!.name).toBe(String(count - 1))
  })
})

describe('sizes and offsets beyond 32 bits', () => {
  const headerBytes = localHeaderSize(3, { size: 0, deflatedSize: null })

  /** Bodies are holes, so bytes and CRCs are not tested here. The test is if programs find each header. */
  it.each([
    ['a file of 2^32 - 2 bytes', MAX_32 - 1],
    ['a file of 2^32 - 1 bytes', MAX_32],
    ['a file of 2^32 bytes', MAX_32 + 1],
    ['a file of 5 GiB', 5 * GIB],
    ['a next header at 2^32 - 2', MAX_32 - 1 - headerBytes],
    ['a next header at 2^32 - 1', MAX_32 - headerBytes],
    ['a next header at 2^32', MAX_32 + 1 - headerBytes],
  ])('are found by unzip, 7z, bsdtar and python: %s', async (what, size) => {
    const big = entryOf({ name: Buffer.from('big'), size, offset: 0, crc32: 0 })
    const next = entryOf({
      name: Buffer.from('next'),
      size: 2,
      offset: localHeaderSize(3, { size, deflatedSize: null }) + size,
    })
    const header = localHeader(next)
    const directoryOffset = next.offset + header.length + next.size
    const central = Buffer.concat([centralHeader(big), centralHeader(next)])
    const end = endRecords({ entries: 2, directoryOffset, directorySize: central.length })
    const path = join(directory, `${what}.zip`)
    await using file = await open(path, 'w')
    await file.write(localHeader(big), 0, undefined, 0)
    await file.write(header, 0, undefined, next.offset)
    await file.write(Buffer.concat([Buffer.from('ok'), central, end]), 0, undefined, next.offset + header.length)

    expect(
      (await pythonRead(path, 'list')).map((read) => [read.name, read.size, read.compressed, read.offset]),
    ).toEqual([
      ['big', size, size, 0],
      ['next', 2, 2, next.offset],
    ])
    // unzip 6.0 mistakes a true size of 2^32 - 1 for the mark of a zip64 field when it reads the next header.
    if (size !== MAX_32)
      expect(await outputOf('unzip', '-Z', path)).toMatch(new RegExp(`${size} .* big\\n.* 2 .* next\\n`))
    expect(await outputOf('7z', 'l', '-slt', path)).toMatch(
      new RegExp(`Path = big\\n(.*\\n)*Size = ${size}\\n(.*\\n)*Path = next\\n`),
    )
    expect(await outputOf('bsdtar', '-tvf', path)).toMatch(new RegExp(`${size} .* big\\n.* 2 .* next\\n`))
  })
})

describe('the local header', () => {
  it('contains sizes and CRC, and no zip64 field up to 2^32 - 2 bytes', () => {
    expect(localHeader(entryOf()).toString('hex')).toBe(
      [
        '504b0304',
        '1400',
        '0008',
        '0000',
        'b56c',
        '5d58',
        'efcdab89',
        '05000000',
        '05000000',
        '0500',
        '0000',
        '612e747874',
      ].join(''),
    )
    expect(localHeader(entryOf({ size: MAX_32 - 1 }))).toHaveLength(35)
  })

  it.each([
    [MAX_32, 'ffffffff00000000'],
    [MAX_32 + 1, '0000000001000000'],
    [Number.MAX_SAFE_INTEGER, 'ffffffffffff1f00'],
  ])('has both sizes in a zip64 field for %i bytes', (size, hex) => {
    expect(localHeader(entryOf({ size })).toString('hex')).toBe(
      [
        '504b0304',
        '2d00',
        '0008',
        '0000',
        'b56c',
        '5d58',
        'efcdab89',
        'ffffffff',
        'ffffffff',
        '0500',
        '1400',
        '612e747874',
        '0100',
        '1000',
        hex,
        hex,
      ].join(''),
    )
  })

  it('does not need zip64 for the offset alone', () => {
    expect(localHeader(entryOf({ offset: MAX_32 + 1 }))).toEqual(localHeader(entryOf()))
  })
})

describe('the central header', () => {
  const start = (made: string, sizes: string, extra: string) =>
    [
      '504b0102',
      `${made}03`,
      `${made}00`,
      '0008',
      '0000',
      'b56c',
      '5d58',
      'efcdab89',
      sizes,
      sizes,
      '0500',
      extra,
      '0000',
      '0000',
      '0000',
      '0000a481',
    ].join('')
  const name = '612e747874'

  it.each([
    ['nothing', 5, 7, [start('14', '05000000', '0000'), '07000000', name]],
    ['nothing, by one', MAX_32 - 1, MAX_32 - 1, [start('14', 'feffffff', '0000'), 'feffffff', name]],
    [
      'the sizes',
      MAX_32,
      7,
      [start('2d', 'ffffffff', '1400'), '07000000', name, '01001000', 'ffffffff00000000', 'ffffffff00000000'],
    ],
    ['the offset', 5, MAX_32, [start('2d', '05000000', '0c00'), 'ffffffff', name, '01000800', 'ffffffff00000000']],
    [
      'the offset, by one',
      5,
      MAX_32 + 1,
      [start('2d', '05000000', '0c00'), 'ffffffff', name, '01000800', '0000000001000000'],
    ],
    [
      'all three',
      MAX_32 + 2,
      MAX_32 + 3,
      [
        start('2d', 'ffffffff', '1c00'),
        'ffffffff',
        name,
        '01001800',
        '0100000001000000',
        '0100000001000000',
        '0200000001000000',
      ],
    ],
  ])('has only the overflowing values in a zip64 field: %s', (_what, size, offset, hex) => {
    expect(centralHeader(entryOf({ size, offset })).toString('hex')).toBe(hex.join(''))
  })
})

describe('the end records', () => {
  it('are one classic record if everything fits', () => {
    const end = endRecords({ entries: 65_534, directoryOffset: MAX_32 - 1, directorySize: MAX_32 - 1 })
    expect(end.toString('hex')).toBe('504b050600000000fefffefffefffffffeffffff0000')
  })

  it.each([
    ['entries', 65_535, 1, 2, 'ffffffff0200000001000000'],
    ['directory offset', 3, MAX_32, 2, '0300030002000000ffffffff'],
    ['directory size', 3, 1, MAX_32, '03000300ffffffff01000000'],
    ['all', 65_536, MAX_32 + 1, MAX_32 + 1, 'ffffffffffffffffffffffff'],
  ])('are three if a number does not fit: %s', (_what, entries, directoryOffset, directorySize, classic) => {
    const end = endRecords({ entries, directoryOffset, directorySize })
    expect(end).toHaveLength(98)
    expect(end.toString('hex', 0, 24)).toBe('504b06062c000000000000002d032d000000000000000000')
    const numbers = [24, 32, 40, 48].map((at) => Number(end.readBigUInt64LE(at)))
    expect(numbers).toEqual([entries, entries, directorySize, directoryOffset])
    expect(end.toString('hex', 56, 64)).toBe('504b060700000000')
    expect(Number(end.readBigUInt64LE(64))).toBe(directoryOffset + directorySize)
    expect(end.toString('hex', 72)).toBe(`01000000504b050600000000${classic}0000`)
  })
})

describe('dates', () => {
  const stampOf = (atMs: number) => {
    const header = localHeader(entryOf({ modifiedMs: atMs }))
    const time = header.readUInt16LE(10)
    const date = header.readUInt16LE(12)
    const day = [(date >> 9) + 1980, (date >> 5) & 15, date & 31]
    return [...day, time >> 11, (time >> 5) & 63, (time & 31) * 2].join(' ')
  }

  it.each([
    [Date.UTC(2024, 11, 31, 23, 59, 59, 999), '2024 12 31 23 59 58'],
    [Date.UTC(1980, 0, 1, 0, 0, 2), '1980 1 1 0 0 2'],
    [Date.UTC(1980, 0, 1), '1980 1 1 0 0 0'],
    [Date.UTC(1979, 11, 31, 23, 59, 59), '1980 1 1 0 0 0'],
    [0, '1980 1 1 0 0 0'],
    [-8.64e15, '1980 1 1 0 0 0'],
    [Number.NaN, '1980 1 1 0 0 0'],
    [Date.UTC(2107, 11, 31, 23, 59, 57), '2107 12 31 23 59 56'],
    [Date.UTC(2108, 0, 1), '2107 12 31 23 59 58'],
    [Number.POSITIVE_INFINITY, '2107 12 31 23 59 58'],
  ])('are UTC, within 1980 and 2107, in steps of two seconds: %d is %s', (atMs, stamp) => {
    expect(stampOf(atMs)).toBe(stamp)
  })
})

describe('writing', () => {
  it('writes exactly as many bytes as announced, and nothing around them', () => {
    const entry = fc.record({
      name: fc.uint8Array({ maxLength: 300 }),
      crc32: fc.integer({ min: 0, max: MAX_32 }),
      size: fc.oneof(fc.integer({ min: MAX_32 - 2, max: MAX_32 + 2 }), fc.maxSafeNat()),
      deflatedSize: fc.oneof(fc.constant(null), fc.integer({ min: MAX_32 - 2, max: MAX_32 + 2 }), fc.maxSafeNat()),
      modifiedMs: fc.double(),
      offset: fc.oneof(fc.integer({ min: MAX_32 - 2, max: MAX_32 + 2 }), fc.maxSafeNat()),
    })
    fc.assert(
      fc.property(entry, fc.nat(50), (one, at) => {
        const target = Buffer.alloc(500, 0xaa)
        const localEnd = writeLocalHeader(target, at, one)
        expect(localEnd - at).toBe(localHeaderSize(one.name.length, one))
        expect(target.subarray(0, at).every((byte) => byte === 0xaa)).toBe(true)
        expect(target.subarray(localEnd).every((byte) => byte === 0xaa)).toBe(true)
        target.fill(0xaa)
        const centralEnd = writeCentralHeader(target, at, one)
        expect(centralEnd - at).toBe(centralHeaderSize(one.name.length, one, one.offset))
        expect(target.subarray(centralEnd).every((byte) => byte === 0xaa)).toBe(true)
      }),
    )
  })

  it('refuses a name whose length does not fit its field', () => {
    expect(() => writeLocalHeader(Buffer.alloc(70_000), 0, entryOf({ name: new Uint8Array(65_536) }))).toThrow(
      RangeError,
    )
  })
})
