// Writes the files that an origin serves for a workload. Their bytes do not compress, and are the same for the same seed.
import { createCipheriv } from 'node:crypto'
import { mkdir, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'

export interface Expected {
  readonly crc32: number
  readonly sizeBytes: number
}

export interface LaidFiles {
  /** In the order of the list. */
  readonly names: readonly string[]
  readonly expected: ReadonlyMap<string, Expected>
}

/** A file that contains all others: it is what the pass-through server is asked for. */
export const ALL_IN_ONE = 'all-in-one.bin'
const CHUNK_BYTES = 4 * 1024 * 1024
const ZEROS = Buffer.alloc(CHUNK_BYTES)

export async function layFiles(directory: string, sizesBytes: readonly number[], seed: number): Promise<LaidFiles> {
  await mkdir(directory, { recursive: true })
  const expected = new Map<string, Expected>()
  await using all = await open(join(directory, ALL_IN_ONE), 'w')
  for (const [index, sizeBytes] of sizesBytes.entries()) {
    const name = `image-${String(index).padStart(5, '0')}.jpg`
    expected.set(name, await layFile(join(directory, name), sizeBytes, `${seed}/${index}`, (chunk) => all.write(chunk)))
  }
  return { names: [...expected.keys()], expected }
}

async function layFile(
  path: string,
  sizeBytes: number,
  seed: string,
  also: (chunk: Buffer) => Promise<unknown>,
): Promise<Expected> {
  // The key stream of a cipher looks random, is fast, and is the same for the same key.
  const stream = createCipheriv('aes-128-ctr', Buffer.from(seed.padEnd(16).slice(0, 16)), Buffer.alloc(16))
  let checksum = 0
  const next = (length: number) => {
    const chunk = stream.update(ZEROS.subarray(0, length))
    checksum = crc32(chunk, checksum)
    return chunk
  }
  if (sizeBytes <= CHUNK_BYTES) {
    const body = next(sizeBytes)
    await writeFile(path, body)
    await also(body)
  } else {
    await using file = await open(path, 'w')
    for (let at = 0; at < sizeBytes; at += CHUNK_BYTES) {
      const chunk = next(Math.min(CHUNK_BYTES, sizeBytes - at))
      await file.write(chunk)
      await also(chunk)
    }
  }
  return { crc32: checksum, sizeBytes }
}
