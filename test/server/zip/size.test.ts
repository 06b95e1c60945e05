// The predicted size equals the size of the records that the writer makes.
import { describe, expect, it } from 'vitest'
import { storedZipBytes } from '../../../server/zip/size.ts'
import { createZipWriter } from '../../../server/zip/writer.ts'

const GiB = 1024 ** 3

/** Size of the archive with these members. Their bodies are counted and not written. */
function written(members: readonly { name: string; sizeBytes: number }[]): number {
  const writer = createZipWriter()
  let offset = 0
  for (const { name, sizeBytes: size } of members) {
    offset += writer.header({ name, size, deflatedSize: null, crc32: 0, modifiedMs: 0 }, offset).length + size
  }
  return writer.trailer(offset).reduce((sum, { length }) => sum + length, offset)
}

const many = (count: number, sizeBytes: number) =>
  Array.from({ length: count }, (_, at) => ({ name: `${at}`, sizeBytes }))

describe('the size of a stored zip', () => {
  it.each<[string, { name: string; sizeBytes: number }[]]>([
    ['of nothing', []],
    ['of an empty file', [{ name: 'a', sizeBytes: 0 }]],
    ['of names that are longer as bytes', [{ name: 'ä/\u{1f33e}.bin', sizeBytes: 17 }]],
    ['of one below the limit of 32 bits', many(1, 2 ** 32 - 2)],
    ['of one at the limit of 32 bits', many(1, 2 ** 32 - 1)],
    ['of a large one and a small one after it', [...many(1, 5 * GiB), { name: 'b', sizeBytes: 3 }]],
    ['of small ones that are large together', many(6, GiB)],
    ['of as many as 16 bits count', many(65_534, 1)],
    ['of one more than that', many(65_535, 1)],
  ])('%s equals what is written', (_, members) => {
    expect(storedZipBytes(members)).toBe(written(members))
  })
})
