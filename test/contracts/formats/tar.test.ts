// Reads a tar's headers from a file and from a stream of pieces: sound ones are accepted, and each kind of damage is found.
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { readTar, type TarEntry, TarStructureError } from '#contracts/formats/tar.ts'
import { packTar } from '../../../server/tar/pack.ts'
import { bodyOf } from '../../support/origin.ts'

type Given = readonly (readonly [name: string, sizeBytes: number])[]

async function tarOf(files: Given): Promise<Buffer> {
  const pieces: Buffer[] = []
  const members = files.map(([name, sizeBytes], index) => ({
    name,
    sizeBytes,
    modifiedMs: Date.UTC(2024, 0, 1),
    open: () => Readable.from([bodyOf(sizeBytes, index)], { objectMode: false }),
  }))
  const write = async (buffers: readonly Uint8Array[]) =>
    void pieces.push(...buffers.map((piece) => Buffer.from(piece)))
  await packTar({ gzip: false, members, write, signal: new AbortController().signal })
  return Buffer.concat(pieces)
}

async function read(bytes: Buffer): Promise<{ entries: TarEntry[]; readBytes: number }> {
  let readBytes = 0
  let end = 0
  const found: TarEntry[] = []
  const readAt = async (offset: number, length: number) => {
    // The reader must never go back, because a stream could not.
    expect(offset).toBeGreaterThanOrEqual(end)
    const piece = bytes.subarray(offset, offset + length)
    end = offset + piece.length
    readBytes += piece.length
    return piece
  }
  for await (const entries of readTar(readAt)) found.push(...entries)
  return { entries: found, readBytes }
}

const long = `${'p'.repeat(200)}/${'ü'.repeat(100)}.bin`
const files: Given = [
  ['a.bin', 1],
  ['empty', 0],
  ['sub/b.bin', 512],
  [long, 513],
  ['größe=1.bin', 511],
  ['large.bin', 3_000_000],
  [`${'p'.repeat(155)}/${'n'.repeat(100)}`, 10],
]

describe('a tar', () => {
  it('is read as it was written: names, sizes and order, and without reading its large bodies', async () => {
    const bytes = await tarOf(files)
    const { entries, readBytes } = await read(bytes)
    expect(entries).toEqual(files.map(([name, sizeBytes]) => ({ name, sizeBytes })))
    expect(readBytes).toBeLessThan(300_000)
  })

  it('is whole if it is empty, and with members and pieces of any size', async () => {
    expect((await read(await tarOf([]))).entries).toEqual([])
    // Sizes around the pieces that it is read in, and around full blocks.
    for (const size of [64 * 1024 - 1024, 64 * 1024 - 512, 64 * 1024, 64 * 1024 + 1, 128 * 1024 - 1536]) {
      const given: Given = [
        [`${size}`, size],
        [long, 0],
        ['last', size - 1],
      ]
      expect((await read(await tarOf(given))).entries).toHaveLength(3)
    }
    for (const count of [125, 126, 127, 128, 129]) {
      const given: Given = Array.from({ length: count }, (_, index) => [`${index}`, 0] as const)
      expect((await read(await tarOf(given))).entries).toHaveLength(count)
    }
  })

  it('may have zeros up to the end of its last record, and not beyond', async () => {
    const bytes = await tarOf(files.slice(0, 2))
    expect((await read(Buffer.concat([bytes, Buffer.alloc(8_192)]))).entries).toHaveLength(2)
    await expect(read(Buffer.concat([bytes, Buffer.alloc(100_000)]))).rejects.toThrow(TarStructureError)
  })

  /** Changes the header at `at`, and corrects its checksum. */
  function rewrite(bytes: Buffer, at: number, change: (header: Buffer) => void): void {
    const header = bytes.subarray(at, at + 512)
    change(header)
    header.fill(' ', 148, 156)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')} \0`, 148)
  }
  const SECOND = 1024
  /** Offsets in the member after the second: its pax header, the pax records, and its own header. */
  const [PAX, RECORDS, OWN] = [1536, 2048, 2560]
  const edit =
    (edit: (header: Buffer) => void, at = SECOND) =>
    (bytes: Buffer) =>
      rewrite(bytes, at, edit)
  const records = (text: string) => (bytes: Buffer) => {
    rewrite(bytes, PAX, (header) => header.write(`${text.length.toString(8).padStart(11, '0')} `, 124))
    bytes.fill(0, RECORDS, OWN).write(text, RECORDS)
  }

  it.each<[string, (bytes: Buffer) => unknown]>([
    ['a byte of a name', (bytes) => (bytes[SECOND]! ^= 1)],
    ['a byte of a checksum', (bytes) => (bytes[SECOND + 150]! ^= 1)],
    ['its magic', edit((header) => header.write('nostar', 257))],
    ['a date before 1970, as a signed number in octal', edit((header) => header.write('000000000-1 ', 136))],
    ['a date without digits', edit((header) => header.fill(' ', 136, 148))],
    ['a date of digits that are no octal', edit((header) => header.write('00000000008 ', 136))],
    ['a number without an end', edit((header) => header.write('000000000000', 136))],
    ['a size below zero in base 256', edit((header) => header.fill(255, 124, 136))],
    ['a size beyond all numbers', edit((header) => header.fill(255, 125, 136).writeUInt8(0x80, 124))],
    ['a size that reaches beyond the end', edit((header) => header.write('00077777777 ', 124))],
    ['a size that leads into a body', edit((header) => header.write('00000002001 ', 124), 0)],
    ['an owner that is no number', edit((header) => header.write('00000x ', 108))],
    ['a group that is no number', edit((header) => header.write('-00001 ', 116))],
    ['a mode that is no number', edit((header) => header.write('rw-r--', 100))],
    ['a name that goes on after its end', edit((header) => header.write('x', 50))],
    ['a name that is not UTF-8', edit((header) => header.writeUInt8(0xff, 0))],
    ['no name', edit((header) => header.fill(0, 0, 100))],
    ['the name of a folder', edit((header) => header.write('empty/', 0))],
    ['a link in it', edit((header) => header.write('2', 156))],
    ['a folder in it', edit((header) => header.write('5', 156))],
    ['a pax header without a length in a record', records('path=x\n')],
    ['a pax record that is longer than its header', records('99 path=x\n')],
    ['a pax record that is shorter than it says', records('8 path=x\n')],
    ['a pax record without its line end', records('10 path=xy')],
    ['a pax record without a key', records('6 =xy\n')],
    ['a pax record without a value', records('7 path\n')],
    ['a pax record with an endless length', records(`${'9'.repeat(300)} path=x\n`)],
    ['a pax record with a size that is none', records('13 size=0x10\n')],
    ['a pax record with no name in it', records('8 path=\n')],
    ['a pax header after a pax header', edit((header) => header.write('x', 156), OWN)],
    ['a pax header of nothing', edit((header) => header.write('00000000000 ', 124), PAX)],
    ['a pax header without end', edit((header) => header.write('00007777777 ', 124), PAX)],
    ['padding that is not zero', (bytes) => (bytes[600]! = 1)],
    ['a last block that is not zero', (bytes) => (bytes[bytes.length - 1]! = 1)],
    ['a block of zeros between members', (bytes) => bytes.fill(0, SECOND, SECOND + 512)],
  ])('with %s is rejected', async (_, damage) => {
    const bytes = await tarOf([files[0]!, files[1]!, files[3]!])
    expect((await read(bytes)).entries).toHaveLength(3)
    damage(bytes)
    await expect(read(bytes)).rejects.toThrow(TarStructureError)
  })

  it('is rejected if it is cut anywhere, or if anything follows its end', async () => {
    const bytes = await tarOf(files.slice(0, 4))
    for (let length = 0; length < bytes.length; length += 256) {
      await expect(read(bytes.subarray(0, length)), `${length} bytes`).rejects.toThrow(TarStructureError)
    }
    await expect(read(Buffer.concat([bytes, Buffer.from('x')]))).rejects.toThrow(TarStructureError)
    await expect(read(Buffer.concat([bytes, bytes]))).rejects.toThrow(TarStructureError)
  })
})
