// Archives at the limits of the 16-bit and 32-bit fields. Each is fetched, packed, saved, and read by every reader.
import { rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Compression } from '#contracts/archive.ts'
import { newArchiveKey } from '#contracts/client.ts'
import type { DirectoryEntry } from '#contracts/formats/zip.ts'
import { createSheafClient } from '../../client-node/index.ts'
import { type SparseOrigin, sparseCrc32, startSparseOrigin } from '../support/sparse-origin.ts'
import { everyReader, verifyZip, type ZipReader } from '../support/unpack.ts'
import { openServer, stopInTime } from './house.ts'
import { BrokenPromise, type Proof, promised, type Scope } from './scope.ts'

interface Case {
  readonly what: string
  /** Sizes of its entries, each of which is named by its number. */
  readonly sizes: readonly number[]
  readonly compression?: Compression
}

const MAX_16 = 2 ** 16 - 1
const MAX_32 = 2 ** 32 - 1
/** Size of a local header without a zip64 field, for a name of one digit. */
const HEADER_BYTES = 30 + 1

const count = (entries: number): Case => ({ what: `${entries} entries`, sizes: Array(entries).fill(3) })
const size = (bytes: number, text: string): Case => ({ what: `an entry of ${text} bytes`, sizes: [bytes, 5] })
const offset = (at: number, text: string): Case => ({
  what: `an entry whose header is at ${text}`,
  sizes: [at - HEADER_BYTES, 5],
})
const directory = (at: number, text: string): Case => ({
  what: `a central directory at ${text}`,
  sizes: [at - HEADER_BYTES],
})

/** The deflated size is small, so only one of the two sizes needs the zip64 field. */
const deflated = (bytes: number, text: string): Case => ({
  what: `an entry of ${text} bytes, deflated`,
  sizes: [bytes, 5],
  compression: 'deflate',
})

/** Values just below, at and just above all ones, which mark a zip64 field (APPNOTE 4.4.1.4). */
export const cases: readonly Case[] = [
  count(MAX_16 - 1),
  count(MAX_16),
  count(MAX_16 + 1),
  size(MAX_32 - 1, '2^32 - 2'),
  size(MAX_32, '2^32 - 1'),
  size(MAX_32 + 1, '2^32'),
  offset(MAX_32 - 1, '2^32 - 2'),
  offset(MAX_32, '2^32 - 1'),
  offset(MAX_32 + 1, '2^32'),
  directory(MAX_32 - 1, '2^32 - 2'),
  directory(MAX_32, '2^32 - 1'),
  deflated(MAX_32 - 1, '2^32 - 2'),
  deflated(MAX_32, '2^32 - 1'),
]

const RESERVE_BYTES = 256 * 2 ** 20
/** Room for the largest archive twice, in the spool and saved. Each case removes its data before the next one begins. */
const NEEDED_BYTES = 2 * 2 ** 32 + 2 * RESERVE_BYTES
/** A generous time for one reader of one archive on a busy machine. */
const READER_TIMEOUT_MS = 20 * 60_000

const gibibytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`

export const zip64: Proof = {
  summary: 'zips at the edges of the 16-bit and 32-bit fields, from --first to --last, before every reader',
  async prove(scope) {
    const { settings, tell } = scope
    const { bavail, bsize } = await statfs(scope.directory)
    tell(`  needs ${gibibytes(NEEDED_BYTES)} of disk; ${gibibytes(bavail * bsize)} are free`)
    if (bavail * bsize < NEEDED_BYTES) {
      throw new BrokenPromise(`${scope.directory} has too little room for this proof; TMPDIR names another place`)
    }
    await using origin = await startSparseOrigin()
    for (const [index, each] of cases.entries()) {
      if (index + 1 < settings.first || index + 1 > settings.last) continue
      const startedAt = performance.now()
      const notes = await check(each, origin, scope)
      const seconds = Math.round((performance.now() - startedAt) / 1000)
      tell(`  ${String(index + 1).padStart(2)}  ${each.what.padEnd(42)}  ${notes}, ${seconds} s`)
    }
  },
}

async function check({ what, sizes, compression }: Case, origin: SparseOrigin, scope: Scope): Promise<string> {
  const dataDir = join(scope.directory, 'data')
  const path = join(scope.directory, 'saved.zip')
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rm(dataDir, { recursive: true, force: true }))
  stack.defer(() => rm(path, { force: true }))
  const env = { SHEAF_MAX_ENTRIES: String(MAX_16 + 1), SHEAF_SPOOL_RESERVE_BYTES: String(RESERVE_BYTES) }
  const server = await openServer(env, dataDir)
  await using client = createSheafClient({ url: server.url })
  const entries = sizes.map((bytes, index) => origin.urlOf(bytes, String(index)))
  const found: DirectoryEntry[] = []
  await client.saveArchive(
    { archiveKey: newArchiveKey(), entries, compression },
    { output: path, onEntry: (entry) => void found.push(entry) },
  )
  await stopInTime(server)

  const checksums = new Map([...new Set(sizes)].map((bytes) => [bytes, sparseCrc32(bytes)]))
  promised(found.length === sizes.length, `${what}: ${found.length} entries were saved of ${sizes.length}`)
  for (const [index, { name, sizeBytes, crc32 }] of found.entries()) {
    const wanted = [String(index), sizes[index], checksums.get(sizes[index]!)].join()
    promised([name, sizeBytes, crc32].join() === wanted, `${what}: ${name} ${sizeBytes} ${crc32} is not ${wanted}`)
  }
  // unzip 6.0 mistakes a true stored size of 2^32 - 1 for the mark of a zip64 field, when it reads the next header.
  const without: ZipReader[] = compression === undefined && sizes.includes(MAX_32) ? ['unzip'] : []
  try {
    await verifyZip(path, { without, timeoutMs: READER_TIMEOUT_MS })
  } catch (error) {
    throw new BrokenPromise(`${what}: ${(error as Error).message}`, { cause: error })
  }
  if (without.length === 0) return 'read by all'
  const misread = await verifyZip(path, {
    without: everyReader.filter((reader) => !without.includes(reader)),
    timeoutMs: READER_TIMEOUT_MS,
  }).catch((error: Error) => error)
  return misread ? `read by all but ${without.join()}, which is known to misread it` : 'read by all, even unzip'
}
