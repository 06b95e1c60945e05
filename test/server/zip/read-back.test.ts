// Any list of entries is written and read back: by our own reader at any size, and by Python if the bodies are real.
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32, deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { parseLocalHeader, readDirectory } from '#contracts/formats/zip.ts'
import { createZipWriter, type Member } from '../../../server/zip/writer.ts'
import { tempDirectory } from '../../support/temp.ts'
import { verifyZip } from '../../support/unpack.ts'

const MAX_32 = 2 ** 32 - 1
const METHOD_STORE = 0
const METHOD_DEFLATE = 8

const edges = fc.integer({ min: MAX_32 - 40, max: MAX_32 + 2 })
/** The sum of seven of the largest is still a safe integer. */
const size = fc.oneof(fc.nat(100), edges, fc.integer({ min: 0, max: 2 ** 50 }))
const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }).filter((text) => text.isWellFormed())

const member: fc.Arbitrary<Member> = fc
  .record({
    name,
    size,
    crc32: fc.integer({ min: 0, max: MAX_32 }),
    modifiedMs: fc.double(),
    share: fc.double({ min: 0, max: 1 }),
  })
  .chain(({ share, ...fields }) =>
    fc
      .oneof(fc.constant(null), fc.constant(Math.floor(fields.size * (Number.isNaN(share) ? 0 : share))), edges)
      .map((deflated) => ({ ...fields, deflatedSize: deflated !== null && deflated <= fields.size ? deflated : null })),
  )

it('is the same in the directory and in each local header, for any sizes and offsets', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(member, { maxLength: 7 }), async (members) => {
      const writer = createZipWriter()
      const wanted: object[] = []
      let offset = 0
      for (const each of members) {
        const compressedBytes = each.deflatedSize ?? each.size
        const header = writer.header(each, offset)
        expect(writer.headerBytes(each)).toBe(header.length)
        const fields = { name: each.name, crc32: each.crc32, sizeBytes: each.size, compressedBytes }
        expect(parseLocalHeader(header)).toEqual({ ...fields, bodyOffset: header.length })
        const method = each.deflatedSize === null ? METHOD_STORE : METHOD_DEFLATE
        wanted.push({ ...fields, method, headerOffset: offset })
        offset += header.length + compressedBytes
      }
      const tail = Buffer.concat(writer.trailer(offset))
      // Bodies and headers do not exist. Reading them gives wrong bytes.
      const read = async (at: number, length: number) => tail.subarray(at - offset, at - offset + length)
      const found: object[] = []
      for await (const entries of readDirectory(read, offset + tail.length)) found.push(...entries)
      expect(found).toEqual(wanted)
    }),
    { numRuns: 2_000 },
  )
})

const READ = `
import json, sys, zipfile
for path in sys.argv[1:]:
    with zipfile.ZipFile(path) as archive:
        print(json.dumps([[i.filename, archive.read(i).hex(), i.header_offset, i.compress_size, i.compress_type,
            i.date_time] for i in archive.infolist()]))
`

it('is the same for Python and all other readers, if bodies are real, stored or deflated', async () => {
  const file = fc.record({
    // Python ends a name at a NUL, and leaves a backslash as it is.
    name: fc
      .string({ unit: fc.constantFrom('a', 'ß', '日', '😀', '/b', ' ', 'e\u0301', '_'), minLength: 1, maxLength: 30 })
      .map((text) => `n${text}`),
    body: fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.nat(70_000).map((length) => Buffer.alloc(length, 'sheaf')),
    ),
    deflates: fc.boolean(),
    minutes: fc.integer({ min: 0, max: 127 * 365 * 24 * 60 }),
  })
  const lists = fc.sample(fc.uniqueArray(file, { selector: ({ name }) => name, minLength: 1, maxLength: 20 }), {
    numRuns: 30,
    seed: 7,
  })
  await using directory = await tempDirectory()
  const paths: string[] = []
  const wanted: unknown[][] = []
  for (const [index, files] of lists.entries()) {
    const writer = createZipWriter()
    const chunks: Uint8Array[] = []
    const rows: unknown[] = []
    let offset = 0
    for (const { name, body, deflates, minutes } of files) {
      const packed = deflates ? deflateRawSync(body) : body
      const modifiedMs = Date.UTC(1980, 0, 1) + minutes * 60_000
      const deflatedSize = deflates ? packed.length : null
      const header = writer.header({ name, size: body.length, deflatedSize, crc32: crc32(body), modifiedMs }, offset)
      const at = new Date(modifiedMs)
      const day = [at.getUTCFullYear(), at.getUTCMonth() + 1, at.getUTCDate(), at.getUTCHours(), at.getUTCMinutes(), 0]
      const method = deflates ? METHOD_DEFLATE : METHOD_STORE
      rows.push([name, Buffer.from(body).toString('hex'), offset, packed.length, method, day])
      chunks.push(header, packed)
      offset += header.length + packed.length
    }
    const path = join(directory.path, `${index}.zip`)
    await writeFile(path, Buffer.concat([...chunks, ...writer.trailer(offset)]))
    paths.push(path)
    wanted.push(rows)
  }
  const lines = execFileSync('python3', ['-c', READ, ...paths], { encoding: 'utf8', maxBuffer: 2 ** 28 })
    .trim()
    .split('\n')
  expect(lines.map((line) => JSON.parse(line) as unknown[])).toEqual(wanted)
  for (const path of paths.slice(0, 5)) await verifyZip(path)
})
