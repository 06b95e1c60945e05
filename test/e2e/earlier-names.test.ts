// Names of any length that an earlier version accepted and journalled. They block nobody, and go with their archive.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { EntryInput } from '#contracts/archive.ts'
import { newArchiveKey } from '#contracts/client.ts'
import { createSqliteJournal } from '../../server/adapters/sqlite/journal.ts'
import { archiveIdOf } from '../../server/archives/manifest.ts'
import { requestOf, stagedFact } from '../support/archives.ts'
import { ask } from '../support/ask.ts'
import { bytes } from '../support/behaviours.ts'
import { startServer } from '../support/server.ts'
import { tempDirectory } from '../support/temp.ts'
import { readZip } from '../support/unpack.ts'
import { completed, eachTestItsWorld, watch } from './world.ts'

const world = eachTestItsWorld()

/** Normalising this name to NFC would take minutes. */
const marks = `a${'\u0315'.repeat(200_000)}${'\u0316'.repeat(200_000)}`

/** Makes a data directory as an earlier version left it: the archive is accepted, and a manifest with such a name journalled. */
async function earlierDirectory(archiveKey: string, entries: EntryInput[], staged: string[] = []): Promise<string> {
  const directory = world.use(await tempDirectory())
  const dataDir = join(directory.path, 'data')
  await using journal = createSqliteJournal({ file: join(dataDir, 'journal.db') })
  const archiveId = archiveIdOf('', archiveKey)
  const accepted = { archiveId, totalEntries: entries.length, acceptedAtMs: Date.now() }
  await journal.accept(requestOf({ ...accepted, nonce: '' }), entries, '')
  const facts = staged.map((proposedName, index) => stagedFact(index, { sizeBytes: 0, crc32: 0, proposedName }))
  if (facts.length > 0) await journal.append(archiveId, 1, facts)
  return dataDir
}

async function namesAfterStart(archiveKey: string, dataDir: string): Promise<string[]> {
  const server = world.use(await startServer({ dataDir }))
  const connection = world.client(server.url)
  const { href } = await completed(watch(connection.watchArchive(archiveKey)).end)
  const path = join(dataDir, 'got.zip')
  await writeFile(path, (await ask(server.url + href)).body)
  expect(await server.stop()).toBe(0)
  return (await readZip(path)).map(({ name }) => name)
}

it('starts with, builds and ends an archive that has a name of 800 KB', async () => {
  const archiveKey = newArchiveKey()
  const url = world.origin.serve('/file', bytes(Buffer.from('body')))
  const dataDir = await earlierDirectory(archiveKey, [
    url,
    { url, name: `${marks}.txt` },
    { url, name: 'a/'.repeat(400_000) },
  ])
  const names = await namesAfterStart(archiveKey, dataDir)
  expect(names).toHaveLength(3)
  expect(names[1]).toMatch(/^a\p{M}{1,30}\.txt$/u)
  for (const name of names) expect(Buffer.byteLength(name)).toBeLessThanOrEqual(1024)
})

it('does the same if a fact has such a name', async () => {
  const archiveKey = newArchiveKey()
  const url = world.origin.serve('/file', bytes(Buffer.from('body')))
  const dataDir = await earlierDirectory(archiveKey, [url, url], [`${marks}.bin`])
  const names = await namesAfterStart(archiveKey, dataDir)
  expect(names).toEqual([expect.stringMatching(/^a\p{M}{1,30}\.bin$/u), 'file'])
})

it('reports the failure of an entry with such a name in a few words', async () => {
  const archiveKey = newArchiveKey()
  const dataDir = await earlierDirectory(archiveKey, [{ url: 'no url', name: marks }])
  const server = world.use(await startServer({ dataDir }))
  const events = watch(world.client(server.url).watchArchive(archiveKey))
  expect((await events.end).type).toBe('aborted')
  expect(events.told.find(({ type }) => type === 'file-failed')).toMatchObject({ name: marks.slice(0, 2048) })
})
