// The most recent manifests are parsed once. They are dropped if they have too many bytes, or if nobody asks any more.
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from 'vitest'
import { createSqliteJournal } from '../../../server/adapters/sqlite/journal.ts'
import { withRecentManifests } from '../../../server/archives/manifests.ts'
import type { Journal } from '../../../server/ports/journal.ts'
import { requestOf } from '../../support/archives.ts'
import { tempDirectory } from '../../support/temp.ts'

let journal: Journal

beforeEach(async () => {
  const directory = await tempDirectory()
  journal = createSqliteJournal({ file: join(directory.path, 'journal.db') })
  return async () => {
    await journal[Symbol.asyncDispose]()
    await directory[Symbol.asyncDispose]()
  }
})

async function accept(into: Journal, ...urls: string[]): Promise<string> {
  const request = requestOf({ totalEntries: urls.length })
  await into.accept(request, urls, '')
  return request.archiveId
}

describe('recent manifests', () => {
  it('are parsed once for all who ask, even at the same time', async () => {
    const recent = withRecentManifests(journal)
    const archiveId = await accept(recent, 'http://a.test/1', 'http://a.test/2')
    const [one, other] = await Promise.all([recent.manifest(archiveId), recent.manifest(archiveId)])
    expect(one).toEqual(['http://a.test/1', 'http://a.test/2'])
    expect(other).toBe(one)
    expect(await recent.manifest(archiveId)).toBe(one)
    expect(await journal.manifest(archiveId)).not.toBe(one)
  })

  it('need not be read for the build, unless they were accepted earlier', async () => {
    const reading = { ...journal, manifest: () => Promise.reject(new Error('read')) } as unknown as Journal
    const recent = withRecentManifests(reading)
    const archiveId = await accept(recent, 'http://a.test/1')
    expect(await recent.manifest(archiveId)).toEqual(['http://a.test/1'])
    const again = requestOf({ archiveId, totalEntries: 1 })
    await recent.accept(again, ['http://other.test/'], '')
    await expect(recent.manifest(archiveId)).rejects.toThrow('read')
  })

  it('are kept up to a number of bytes, and the last one always', async () => {
    const recent = withRecentManifests(journal, { maxBytes: 2_500 })
    const ids: string[] = []
    for (const name of ['a', 'b', 'c', 'd']) ids.push(await accept(recent, name.repeat(name === 'd' ? 9_000 : 1_000)))
    const [a, b, c, d] = ids as [string, string, string, string]
    const first = await recent.manifest(a)
    const second = await recent.manifest(b)
    expect(await recent.manifest(a)).toBe(first)
    await recent.manifest(c)
    expect(await recent.manifest(a)).toBe(first)
    expect(await recent.manifest(b)).not.toBe(second)
    const large = await recent.manifest(d)
    expect(await recent.manifest(d)).toBe(large)
    expect(await recent.manifest(a)).not.toBe(first)
  })

  it('are dropped when nobody asks any more', async () => {
    const recent = withRecentManifests(journal, { keepMs: 20 })
    const archiveId = await accept(recent, 'http://a.test/1')
    const manifest = await recent.manifest(archiveId)
    await sleep(100)
    expect(await recent.manifest(archiveId)).not.toBe(manifest)
  })

  it('do not outlive the archive', async () => {
    const recent = withRecentManifests(journal)
    const archiveId = await accept(recent, 'http://a.test/1')
    await recent.manifest(archiveId)
    await recent.bury(archiveId, 1)
    expect(await recent.manifest(archiveId)).toEqual([])
    await recent.forget(2)
    await recent.accept(requestOf({ archiveId }), ['http://a.test/2'], '')
    expect(await recent.manifest(archiveId)).toEqual(['http://a.test/2'])
  })

  it('leave everything else to the journal', async () => {
    const recent = withRecentManifests(journal)
    const archiveId = await accept(recent, 'http://a.test/1')
    expect((await recent.get(archiveId))?.archiveId).toBe(archiveId)
    expect(await recent.kept()).toEqual([archiveId])
  })
})
