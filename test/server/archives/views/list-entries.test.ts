// Pages of entries and their states: each is bounded by number and by bytes, and together they contain all entries.
import { join } from 'node:path'
import { beforeEach, expect, it } from 'vitest'
import type { EntryStatus } from '#contracts/api.ts'
import { createSqliteJournal } from '../../../../server/adapters/sqlite/journal.ts'
import { PAGE_BYTES, pageOfEntries } from '../../../../server/archives/views/list-entries.ts'
import type { Journal } from '../../../../server/ports/journal.ts'
import { requestOf } from '../../../support/archives.ts'
import { tempDirectory } from '../../../support/temp.ts'

const archiveKey = 'k'.repeat(22)
let journal: Journal

beforeEach(async () => {
  const directory = await tempDirectory()
  journal = createSqliteJournal({ file: join(directory.path, 'journal.db'), onQuarantine: () => {} })
  return async () => {
    await journal[Symbol.asyncDispose]()
    await directory[Symbol.asyncDispose]()
  }
})

async function accept(urls: readonly string[]): Promise<string> {
  const request = requestOf({ totalEntries: urls.length })
  await journal.accept(request, urls, '')
  return request.archiveId
}

it.each([
  ['short', (n: number) => `http://a.test/${n}`, 3, 2_500],
  ['long', (n: number) => `http://a.test/${n}/${'x'.repeat(2_000)}`, 5, 600],
  ['larger as JSON', (n: number) => `${n}${'\u0001'.repeat(2_000)}`, 27, 600],
  ['larger as UTF-8', (n: number) => `${n}${'\u6f22'.repeat(2_000)}`, 14, 600],
])('pages of %s URLs hold as many entries as fit, and no entry twice', async (_, urlOf, atLeast, count) => {
  const urls = Array.from({ length: count }, (_, n) => urlOf(n))
  const archiveId = await accept(urls)
  const all: EntryStatus[] = []
  let pages = 0
  for (let cursor: number | null = 0; cursor !== null; pages++) {
    const page = await pageOfEntries(journal, null, archiveId, { archiveKey, cursor, limit: 1000 })
    expect(Buffer.byteLength(JSON.stringify(page))).toBeLessThanOrEqual(PAGE_BYTES)
    expect(page.entries.length).toBeLessThanOrEqual(1000)
    all.push(...page.entries)
    cursor = page.nextCursor
  }
  expect(pages).toBeGreaterThanOrEqual(atLeast)
  expect(all.map(({ url }) => url)).toEqual(urls)
  expect(all.map(({ index }) => index)).toEqual(urls.map((_, index) => index))
})

it('an entry is listed with at most 2,048 units of its URL', async () => {
  const archiveId = await accept([`http://a.test/${'x'.repeat(3_000_000)}`, 'http://a.test/b'])
  const { entries, nextCursor } = await pageOfEntries(journal, null, archiveId, { archiveKey })
  expect(entries.map(({ url }) => url.length)).toEqual([2048, 15])
  expect(nextCursor).toBeNull()
})
