// The check of a packed tar before its archive is reported complete. Uses a real spool, whose bytes are damaged before the check.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32, gunzipSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { createDiskSpool } from '../../../../server/adapters/disk/spool.ts'
import { createSqliteJournal } from '../../../../server/adapters/sqlite/journal.ts'
import { type Closing, checkArchive, closeArchive } from '../../../../server/archives/build/seal-archive.ts'
import { createSealer } from '../../../../server/archives/build/sealer.ts'
import { createLayout } from '../../../../server/archives/bytes/layout.ts'
import { LOG } from '../../../../server/ports/spool.ts'
import { requestOf, wholeBody } from '../../../support/archives.ts'
import { bodyOf } from '../../../support/origin.ts'
import { tempDirectory } from '../../../support/temp.ts'

const bodies = [bodyOf(700, 'a'), bodyOf(300_000, 'b'), Buffer.alloc(0), bodyOf(1_024, 'd')]

/** Makes an archive whose bodies have all come, in its own directories. */
async function closed(format: 'tar' | 'tar.gz') {
  const temporary = await tempDirectory()
  const directory = join(temporary.path, 'spool')
  const spool = await createDiskSpool({ directory })
  const journal = createSqliteJournal({ file: join(temporary.path, 'journal.db') })
  const request = requestOf({ format, totalEntries: bodies.length })
  const { record } = await journal.accept(request, ['http://a/', 'http://b/', 'http://c/', 'http://d/'], '')
  const writer = await spool.writer(record.archiveId, new Map())
  const sealer = createSealer(record)
  for (const [index, body] of bodies.entries()) {
    const at = { file: LOG, offset: writer.logBytes }
    await writer.appendLog([body])
    const measured = { sizeBytes: body.length, crc32: crc32(body) }
    const whole = { ...wholeBody(index), ...measured, ...at, proposedName: `${index}.bin` }
    sealer.placeSpooled(whole, { log: writer.log, offset: 0 })
  }
  const layout = createLayout()
  const abort = new AbortController()
  const counts = { sealedEntries: bodies.length, failedEntries: 0 }
  const closing: Closing = { record, journal, spool, writer, sealer, layout, ...counts, signal: abort.signal }
  await closeArchive(closing)
  const part = layout.extents[0]!.file
  const file = join(directory, record.archiveId, part)
  return {
    closing,
    abort,
    /** Changes the tar on the disk, inside its gzip if there is one. */
    async damage(change: (tar: Buffer) => Buffer) {
      const bytes = await readFile(file)
      const changed = format === 'tar' ? change(bytes) : gzipSync(change(gunzipSync(bytes)))
      await writeFile(file, changed)
      layout.clear()
      layout.add({ file: part, offset: 0, length: changed.length })
    },
    async damageFile(change: (bytes: Buffer) => void) {
      const bytes = await readFile(file)
      change(bytes)
      await writeFile(file, bytes)
    },
    async [Symbol.asyncDispose]() {
      await writer[Symbol.asyncDispose]()
      await journal[Symbol.asyncDispose]()
      await spool[Symbol.asyncDispose]()
      await temporary[Symbol.asyncDispose]()
    },
  }
}

/** Offsets of the second, third and fourth header. */
const [SECOND, THIRD, FOURTH] = [1_536, 302_080, 302_592]

describe.each(['tar', 'tar.gz'] as const)('the check of a closed %s', (format) => {
  it('accepts it as it was packed', async () => {
    await using archive = await closed(format)
    expect(await checkArchive(archive.closing)).toBeNull()
    await archive.damage((tar) => tar)
    expect(await checkArchive(archive.closing)).toBeNull()
  })

  const end = Buffer.alloc(1_024)
  const cut = (tar: Buffer, ...ranges: [number, number?][]) => ranges.map(([from, to]) => tar.subarray(from, to))
  it.each<[string, RegExp, (tar: Buffer) => Buffer]>([
    [
      'a broken header of its second entry',
      /checksum/,
      (tar) => Buffer.from(tar).fill('-', SECOND + 136, SECOND + 140),
    ],
    ['its second entry passed over', /placed/, (tar) => Buffer.concat(cut(tar, [0, SECOND], [THIRD]))],
    ['an entry too few', /4 members placed, 3 in the tar/, (tar) => Buffer.concat([...cut(tar, [0, FOURTH]), end])],
    ['an entry twice', /nothing placed/, (tar) => Buffer.concat([tar.subarray(0, -1_024), ...cut(tar, [FOURTH])])],
    [
      'two entries in the other order',
      /"2.bin" of 0 bytes placed, "3.bin" of 1024 bytes/,
      (tar) => Buffer.concat(cut(tar, [0, THIRD], [FOURTH, -1_024], [THIRD, FOURTH], [-1_024])),
    ],
    ['no end', /it ends at/, (tar) => tar.subarray(0, -1_024)],
    ['half an end', /it ends at/, (tar) => tar.subarray(0, -512)],
    ['something after its end', /it ends at|after its end/, (tar) => Buffer.concat([tar, Buffer.from('more')])],
    ['nothing in it', /it ends at 0/, () => Buffer.alloc(0)],
  ])('refuses it with %s', async (_, reason, change) => {
    await using archive = await closed(format)
    await archive.damage(change)
    await expect(checkArchive(archive.closing)).rejects.toThrow(reason)
  })

  it('ends when its signal aborts', async () => {
    await using archive = await closed(format)
    archive.abort.abort(new Error('enough'))
    await expect(checkArchive(archive.closing)).rejects.toThrow(/enough|aborted/)
  })
})

describe('the check of a closed tar.gz', () => {
  it.each<[string, (bytes: Buffer) => void]>([
    ['its checksum', (bytes) => (bytes[bytes.length - 6]! ^= 1)],
    ['its length', (bytes) => (bytes[bytes.length - 1]! ^= 1)],
    ['the middle of it', (bytes) => bytes.fill(0, 100_000, 100_100)],
  ])('finds damage to %s', async (_, change) => {
    await using archive = await closed('tar.gz')
    await archive.damageFile(change)
    await expect(checkArchive(archive.closing)).rejects.toThrow()
  })
})
