// The reader of zip structure, with archives of other people's programs and with damaged ones.
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type DirectoryEntry, parseLocalHeader, readDirectory, ZipStructureError } from '#contracts/formats/zip.ts'
import {
  centralHeaderSize,
  endRecords,
  localHeaderSize,
  writeCentralHeader,
  writeLocalHeader,
  type ZipEntry,
} from '../../../server/zip/records.ts'

const MAX_32 = 2 ** 32 - 1
const GIB = 2 ** 30

interface File {
  name: string
  body: Buffer
}

function localHeader(entry: ZipEntry): Buffer {
  const target = Buffer.alloc(localHeaderSize(entry.name.length, entry))
  writeLocalHeader(target, 0, entry)
  return target
}

function centralHeader(entry: ZipEntry): Buffer {
  const target = Buffer.alloc(centralHeaderSize(entry.name.length, entry, entry.offset))
  writeCentralHeader(target, 0, entry)
  return target
}

/** Makes the central directory and end records for entries of these sizes, and says where they start. */
function tailOf(sizes: readonly number[]): { tail: Buffer; startsAt: number; offsets: number[] } {
  const offsets: number[] = []
  let offset = 0
  const central = sizes.map((size, index) => {
    const entry = { name: Buffer.from(`file ${index}`), crc32: index, size, deflatedSize: null, modifiedMs: 0, offset }
    offsets.push(offset)
    offset += localHeaderSize(entry.name.length, entry) + size
    return centralHeader(entry)
  })
  const headers = Buffer.concat(central)
  const end = endRecords({ entries: sizes.length, directoryOffset: offset, directorySize: headers.length })
  return { tail: Buffer.concat([headers, end]), startsAt: offset, offsets }
}

function archiveOf(files: readonly File[]): Buffer {
  const chunks: Buffer[] = []
  const central: Buffer[] = []
  let offset = 0
  for (const { name, body } of files) {
    const entry = {
      name: Buffer.from(name),
      crc32: crc32(body),
      size: body.length,
      deflatedSize: null,
      modifiedMs: 0,
      offset,
    }
    const header = localHeader(entry)
    chunks.push(header, body)
    central.push(centralHeader(entry))
    offset += header.length + body.length
  }
  const directorySize = central.reduce((sum, header) => sum + header.length, 0)
  return Buffer.concat([
    ...chunks,
    ...central,
    endRecords({ entries: files.length, directoryOffset: offset, directorySize }),
  ])
}

/** Reads bytes at the end of a larger file. Throws if the rest of the file is read. */
function readerOf(bytes: Uint8Array, startsAt = 0) {
  const reads: { offset: number; length: number }[] = []
  const read = async (offset: number, length: number) => {
    reads.push({ offset, length })
    expect(offset).toBeGreaterThanOrEqual(startsAt)
    return bytes.subarray(offset - startsAt, offset - startsAt + length)
  }
  return { read, reads, sizeBytes: startsAt + bytes.length }
}

async function collect<T>(source: AsyncIterable<T[]>): Promise<T[]> {
  const all: T[] = []
  for await (const some of source) all.push(...some)
  return all
}

async function entriesOf(bytes: Uint8Array, startsAt = 0): Promise<DirectoryEntry[]> {
  const { read, sizeBytes } = readerOf(bytes, startsAt)
  return await collect(readDirectory(read, sizeBytes))
}

function findFiles(archive: Buffer, entries: readonly DirectoryEntry[]): File[] {
  return entries.map((entry) => {
    const header = parseLocalHeader(archive.subarray(entry.headerOffset))
    const bodyAt = entry.headerOffset + header.bodyOffset
    const body = archive.subarray(bodyAt, bodyAt + header.sizeBytes)
    expect(header).toMatchObject({ name: entry.name, crc32: entry.crc32, sizeBytes: entry.sizeBytes })
    expect(crc32(body)).toBe(entry.crc32)
    return { name: header.name, body }
  })
}

const files: File[] = [
  { name: 'a.txt', body: Buffer.from('hello') },
  { name: '日本語/😀.bin', body: Buffer.alloc(70_000, 'sheaf') },
  { name: '\ufeffwith a mark', body: Buffer.alloc(0) },
]

describe('readDirectory', () => {
  it('finds every file of an archive, in order, with name, CRC, size and body', async () => {
    const archive = archiveOf(files)
    const entries = await entriesOf(archive)
    expect(findFiles(archive, entries)).toEqual(files)
    expect(entries[0]).toEqual({
      name: 'a.txt',
      crc32: 0x3610a686,
      sizeBytes: 5,
      compressedBytes: 5,
      method: 0,
      headerOffset: 0,
    })
  })

  it('finds nothing in an empty archive', async () => {
    expect(await entriesOf(archiveOf([]))).toEqual([])
  })

  it('reads what Python wrote, stored and deflated, with zip64 fields in local headers', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'sheaf-zip-'))
    const path = join(directory, 'python.zip')
    const script = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as archive:
    archive.writestr('größe.txt', 'stored')
    archive.writestr('deflated.txt', 'x' * 1000, zipfile.ZIP_DEFLATED)
    with archive.open('zip64.txt', 'w', force_zip64=True) as file: file.write(b'forced')
`
    await promisify(execFile)('python3', ['-c', script, path])
    const archive = await readFile(path)
    await rm(directory, { recursive: true })
    const entries = await entriesOf(archive)
    expect(entries.map(({ name, sizeBytes, method }) => [name, sizeBytes, method])).toEqual([
      ['größe.txt', 6, 0],
      ['deflated.txt', 1000, 8],
      ['zip64.txt', 6, 0],
    ])
    expect(entries[1]!.compressedBytes).toBeLessThan(100)
    const { compressedBytes } = entries[1]!
    const deflated = parseLocalHeader(archive.subarray(entries[1]!.headerOffset))
    expect(deflated).toMatchObject({ name: 'deflated.txt', sizeBytes: 1000, compressedBytes })
    const last = parseLocalHeader(archive.subarray(entries[2]!.headerOffset))
    expect(last).toMatchObject({ name: 'zip64.txt', sizeBytes: 6, compressedBytes: 6, crc32: crc32('forced') })
    expect(archive.toString('utf8', entries[2]!.headerOffset + last.bodyOffset).slice(0, 6)).toBe('forced')
  })

  it.each([
    ['just below', [MAX_32 - 1 - 36, 1]],
    ['a header at 2^32 - 1', [MAX_32 - 36, 1]],
    ['a size of 2^32 - 2', [MAX_32 - 1, 1]],
    ['a size of 2^32 - 1', [MAX_32, 1]],
    ['a size of 2^32', [MAX_32 + 1, 1]],
    ['large sizes at large offsets', [5 * GIB, 6 * GIB, 2 ** 45, 3]],
  ])('finds sizes and offsets about 2^32: %s', async (_what, sizes) => {
    const { tail, startsAt, offsets } = tailOf(sizes)
    const entries = await entriesOf(tail, startsAt)
    expect(entries.map(({ sizeBytes }) => sizeBytes)).toEqual(sizes)
    expect(entries.map(({ compressedBytes }) => compressedBytes)).toEqual(sizes)
    expect(entries.map(({ headerOffset }) => headerOffset)).toEqual(offsets)
  })

  it.each([65_534, 65_535, 65_536])('reads a directory of %i entries in pieces of at most 256 KiB', async (count) => {
    const { tail, startsAt } = tailOf(Array(count).fill(0))
    const { read, reads, sizeBytes } = readerOf(tail, startsAt)
    let found = 0
    for await (const entries of readDirectory(read, sizeBytes)) {
      expect(entries.every(({ crc32 }) => crc32 === found++)).toBe(true)
    }
    expect(found).toBe(count)
    expect(Math.max(...reads.map(({ length }) => length))).toBe(256 * 1024)
    expect(reads.length).toBeLessThan(20)
  })

  it('reads headers that lie in two pieces', async () => {
    const archive = archiveOf(
      Array.from({ length: 12 }, (_, index) => ({ name: `${index}${'n'.repeat(60_000)}`, body: files[0]!.body })),
    )
    expect(findFiles(archive, await entriesOf(archive))).toHaveLength(12)
  })

  describe('refuses', () => {
    const archive = archiveOf(files)
    const endAt = archive.length - 22
    const directoryAt = archive.readUInt32LE(endAt + 16)
    const secondAt = directoryAt + centralHeaderSize(5, { size: 5, deflatedSize: null }, 0)

    function damaged(change: (copy: Buffer) => unknown): Buffer {
      const copy = Buffer.from(archive)
      const result = change(copy)
      return Buffer.isBuffer(result) ? result : copy
    }

    it.each<[string, RegExp, (copy: Buffer) => unknown]>([
      ['no bytes', /too few/, () => Buffer.alloc(0)],
      ['a cut end', /no end of central directory/, (copy) => copy.subarray(0, -1)],
      ['a byte after the end', /no end of central directory/, (copy) => Buffer.concat([copy, Buffer.alloc(1)])],
      ['text', /no end of central directory/, () => Buffer.from('<html>this is no archive at all</html>')],
      ['a comment that is missing', /comment/, (copy) => copy.writeUInt16LE(1, endAt + 20)],
      [
        'a missing byte before the directory',
        /does not end where/,
        (copy) => Buffer.concat([copy.subarray(0, 40), copy.subarray(41)]),
      ],
      [
        'an extra byte before the directory',
        /does not end where/,
        (copy) => Buffer.concat([copy.subarray(0, 40), copy.subarray(39)]),
      ],
      ['an entry too few in the count', /goes on after the 2/, (copy) => setCount(copy, 2)],
      ['an entry too many in the count', /has 3 entries, the end record says 4/, (copy) => setCount(copy, 4)],
      ['two different counts', /on this disk/, (copy) => copy.writeUInt16LE(2, endAt + 8)],
      ['a missing zip64 record', /no zip64 locator/, (copy) => setCount(copy, 0xffff)],
      ['a directory beyond the file', /does not end where/, (copy) => copy.writeUInt32LE(copy.length, endAt + 16)],
      ['a wrong signature of the first entry', /no central header/, (copy) => copy.writeUInt8(0, directoryAt)],
      ['a wrong signature of the second entry', /no central header/, (copy) => copy.writeUInt8(0, secondAt + 3)],
      [
        'a name longer than the directory',
        /ends within an entry/,
        (copy) => copy.writeUInt16LE(60_000, directoryAt + 28),
      ],
      ['a name that is not UTF-8', /not UTF-8/, (copy) => copy.writeUInt8(0xff, directoryAt + 46)],
      ['a stored entry of two sizes', /two sizes/, (copy) => copy.writeUInt32LE(4, directoryAt + 20)],
      ['an overlap', /before the entry before it ends/, (copy) => copy.writeUInt32LE(39, secondAt + 42)],
      ['a wrong order', /before the entry before it ends/, (copy) => copy.writeUInt32LE(0, secondAt + 42)],
      ['an entry in the directory', /reaches into/, (copy) => copy.writeUInt32LE(directoryAt, secondAt + 42)],
      ['an entry that is too large', /reaches into/, (copy) => setSizes(copy, secondAt, directoryAt)],
      ['a zip64 size without its field', /zip64 extra field is missing/, (copy) => setSizes(copy, secondAt, MAX_32)],
      [
        'bytes before an empty directory',
        /without entries has bytes/,
        () => Buffer.concat([Buffer.alloc(9), emptyAt(9)]),
      ],
    ])('%s', async (_what, message, change) => {
      const error = await entriesOf(damaged(change)).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(ZipStructureError)
      expect((error as Error).message).toMatch(message)
    })

    function setCount(copy: Buffer, count: number): void {
      copy.writeUInt16LE(count, endAt + 8)
      copy.writeUInt16LE(count, endAt + 10)
    }

    function setSizes(copy: Buffer, headerAt: number, size: number): void {
      copy.writeUInt32LE(size, headerAt + 20)
      copy.writeUInt32LE(size, headerAt + 24)
    }

    function emptyAt(directoryOffset: number): Buffer {
      return endRecords({ entries: 0, directoryOffset, directorySize: 0 })
    }

    it.each<[string, RegExp, (tail: Buffer, recordAt: number) => unknown]>([
      ['no locator', /no zip64 locator/, (tail, at) => tail.writeUInt8(0, at + 56)],
      ['a locator that points elsewhere', /does not point/, (tail, at) => tail.writeUInt8(tail[at + 64]! ^ 1, at + 64)],
      ['no record', /no zip64 end/, (tail, at) => tail.writeUInt8(0, at)],
      ['two different counts', /on this disk/, (tail, at) => tail.writeUInt8(3, at + 24)],
      [
        'a count that the end record denies',
        /disagree/,
        (tail, at) => tail.writeUInt16LE(0x0303, at + 76 + 8) && tail.writeUInt16LE(3, at + 76 + 10),
      ],
      ['a size beyond all sizes', /beyond all sizes/, (tail, at) => tail.writeUInt8(1, at + 47)],
      ['a wrong offset', /does not end where/, (tail, at) => tail.writeUInt8(tail[at + 48]! ^ 1, at + 48)],
      ['a zip64 field that is too short', /too short/, (tail) => tail.writeUInt16LE(8, 46 + 6 + 2)],
      ['another field in place of zip64', /missing/, (tail) => tail.writeUInt16LE(2, 46 + 6)],
    ])('zip64 records with %s', async (_what, message, change) => {
      const { tail, startsAt } = tailOf([5 * GIB, 6 * GIB])
      expect(await entriesOf(tail, startsAt)).toHaveLength(2)
      change(tail, tail.length - 98)
      await expect(entriesOf(tail, startsAt)).rejects.toThrow(message)
    })

    it('zip64 records that do not fit into the file', async () => {
      const end = emptyAt(0)
      end.writeUInt16LE(0xffff, 8)
      end.writeUInt16LE(0xffff, 10)
      await expect(entriesOf(end)).rejects.toThrow(/no room/)
    })

    it('a directory of 4 GiB without headers, once its zip64 record is found', async () => {
      const end = endRecords({ entries: 1, directoryOffset: 0, directorySize: MAX_32 })
      const read = async (offset: number, length: number) =>
        offset < MAX_32 ? new Uint8Array(length) : end.subarray(offset - MAX_32, offset - MAX_32 + length)
      const found = collect(readDirectory(read, MAX_32 + end.length))
      await expect(found).rejects.toThrow('no central header at 0')
    })

    it('a file that is shorter than announced', async () => {
      const read = async (offset: number, length: number) =>
        archive.subarray(offset, Math.min(offset + length, directoryAt + 9))
      await expect(collect(readDirectory(read, archive.length))).rejects.toThrow(/0 bytes instead of 22/)
    })

    it('any damage in the end records, and always with the same type of error', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: directoryAt, max: archive.length - 1 }),
          fc.integer({ min: 1, max: 255 }),
          async (at, flip) => {
            const copy = Buffer.from(archive)
            copy[at]! ^= flip
            const error = await entriesOf(copy).then(
              () => null,
              (reason: unknown) => reason,
            )
            if (error !== null || at >= endAt + 8) expect(error).toBeInstanceOf(ZipStructureError)
          },
        ),
        { numRuns: 500 },
      )
    })
  })
})

describe('parseLocalHeader', () => {
  const entry: ZipEntry = {
    name: Buffer.from('größe'),
    crc32: 0xdeadbeef,
    size: 7,
    deflatedSize: null,
    modifiedMs: 0,
    offset: 0,
  }

  it.each([0, 7, MAX_32 - 1, MAX_32, MAX_32 + 1, 2 ** 45])('reads a header of a body of %i bytes', (size) => {
    const header = localHeader({ ...entry, size })
    const expected = {
      name: 'größe',
      crc32: 0xdeadbeef,
      sizeBytes: size,
      compressedBytes: size,
      bodyOffset: header.length,
    }
    expect(parseLocalHeader(header)).toEqual(expected)
    expect(parseLocalHeader(Buffer.concat([header, Buffer.alloc(9)]))).toEqual(expected)
  })

  it('reads bytes that lie within a larger buffer', () => {
    const larger = Buffer.concat([Buffer.alloc(3), localHeader(entry)])
    expect(parseLocalHeader(new Uint8Array(larger.buffer, larger.byteOffset + 3, larger.length - 3)).name).toBe('größe')
  })

  it('refuses a header that is cut off anywhere', () => {
    for (const header of [localHeader(entry), localHeader({ ...entry, size: MAX_32 })]) {
      for (let length = 0; length < header.length; length++) {
        expect(() => parseLocalHeader(header.subarray(0, length))).toThrow(/cut off/)
      }
    }
  })

  it('refuses what is not a local header', () => {
    expect(() => parseLocalHeader(centralHeader(entry))).toThrow(/no local header/)
  })
})
