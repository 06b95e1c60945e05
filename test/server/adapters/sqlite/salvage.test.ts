// Journals with damaged pages: what can be read is kept and is never wrong, and the damaged file is moved aside.
import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import type { EntryInput } from '#contracts/archive.ts'
import { openDatabase } from '../../../../server/adapters/sqlite/database.ts'
import { createSqliteJournal } from '../../../../server/adapters/sqlite/journal.ts'
import type { Quarantine } from '../../../../server/adapters/sqlite/quarantine.ts'
import type { ArchiveRequest, Fact, Journal } from '../../../../server/ports/journal.ts'
import { abortedFact, archiveSealedFact, failedFact, requestOf, sealedFact } from '../../../support/archives.ts'
import { tempDirectory } from '../../../support/temp.ts'

const PAGE_BYTES = 4096

interface Written {
  readonly request: ArchiveRequest
  readonly manifest: EntryInput[]
  readonly facts: Fact[]
}

/** A hash that shows if a manifest is the one that was asked for, like that of the service. */
const hashOf = (entries: readonly EntryInput[]) =>
  `${entries.length} ${entries.join().length} ${entries.join().slice(-8)}`
const isIntact = (request: ArchiveRequest, entries: EntryInput[]) =>
  request.manifestHash === hashOf(entries) && !JSON.stringify(entries).includes('\ufffd')

/** Writes archives of all states and sizes: facts in many rows, manifests over many pages. */
async function write(journal: Journal): Promise<Map<string, Written>> {
  const all = new Map<string, Written>()
  for (let n = 0; n < 40; n++) {
    const manifest = Array.from({ length: n % 7 === 0 ? 400 : 3 }, (_, index) => `http://${n}.test/${index}`)
    const request = requestOf({ manifestHash: hashOf(manifest), name: `${n}.zip`, totalEntries: manifest.length })
    const facts: Fact[] = Array.from({ length: 20 + n }, (_, index) => failedFact(index))
    if (n % 3 === 1) facts.push(sealedFact(1), archiveSealedFact(9_000_000))
    if (n % 3 === 2) facts.push(abortedFact(9_000_000))
    await journal.accept(request, manifest, `client-${n}`)
    for (let at = 0; at < facts.length; at += 9) {
      await journal.append(request.archiveId, 1 + at, facts.slice(at, at + 9))
    }
    all.set(request.archiveId, { request, manifest, facts })
  }
  return all
}

async function openDamaged(file: string, judge = isIntact): Promise<{ journal: Journal; quarantine: Quarantine }> {
  const quarantines: Quarantine[] = []
  const journal = createSqliteJournal({
    file,
    isIntact: judge,
    onQuarantine: (quarantine) => quarantines.push(quarantine),
  })
  expect(quarantines).toHaveLength(1)
  return { journal, quarantine: quarantines[0]! }
}

/** Checks that each archive is as it was written, or is marked as lost. */
async function expectSound(journal: Journal, written: Map<string, Written>): Promise<{ whole: number; ended: number }> {
  let whole = 0
  let ended = 0
  for (const archiveId of await journal.kept()) {
    const { request, manifest, facts } = written.get(archiveId)!
    const record = (await journal.get(archiveId))!
    expect(record).toMatchObject(request)
    const [foundManifest, found] = [await journal.manifest(archiveId), await journal.facts(archiveId, 1, 1_000)]
    if (record.terminal?.type === 'aborted' && record.terminal.code === 'UNRECOVERABLE') {
      ended++
      continue
    }
    if (found[0]?.type === 'rewound') {
      expect(found).toHaveLength(1)
      expect(record).toMatchObject({ terminal: null, lastSeq: facts.length + 2 })
      expect(record.generation).toBeGreaterThan(1)
      expect(foundManifest).toEqual(manifest)
      continue
    }
    for (const { seq, ...fact } of found) expect(fact).toEqual(facts[seq - 2])
    expect(record.lastSeq).toBe(facts.length + 1)
    if (foundManifest.length > 0) expect(foundManifest).toEqual(manifest)
    if (record.terminal === null) expect([found.length, foundManifest.length]).toEqual([facts.length, manifest.length])
    if (found.length === facts.length && foundManifest.length > 0) whole++
  }
  return { whole, ended }
}

describe('a damaged journal', () => {
  it('keeps everything except what lies on the bad page, whichever page that is', async () => {
    await using directory = await tempDirectory()
    const original = join(directory.path, 'original.db')
    const first = createSqliteJournal({ file: original })
    const written = await write(first)
    await first[Symbol.asyncDispose]()
    const content = await readFile(original)
    const pages = content.length / PAGE_BYTES
    expect(pages).toBeGreaterThan(60)
    const wholes: number[] = []
    for (let page = 1; page < pages; page += 3) {
      const file = join(directory.path, `${page}.db`)
      const damaged = Buffer.from(content).fill(0xa5, page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
      await writeFile(file, damaged)
      // Opening a journal does not read pages in the middle of a text, and SQLite has no checksums.
      const isSeen = isFoundDamaged(file)
      if (!isSeen) continue
      const { journal, quarantine } = await openDamaged(file)
      expect(quarantine.salvaged).not.toBeNull()
      const { whole } = await expectSound(journal, written)
      wholes.push(whole)
      expect(journal.damagedAtMs).not.toBeNull()
      const request = requestOf()
      await journal.accept(request, ['http://new.test/'], '')
      expect(await journal.get(request.archiveId)).not.toBeNull()
      await journal[Symbol.asyncDispose]()
    }
    expect(wholes.length).toBeGreaterThan(8)
    // A bad root loses a table, a bad leaf some rows.
    wholes.sort((a, b) => a - b)
    expect(wholes[wholes.length >> 1]).toBeGreaterThanOrEqual(35)
  })

  it('ends an archive whose manifest is damaged, and goes on with all others', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'journal.db')
    const first = createSqliteJournal({ file })
    const written = await write(first)
    await first[Symbol.asyncDispose]()
    const content = await readFile(file)
    // Damages the text of the first archive, which is unfinished, and something whose damage is found.
    const at = content.indexOf('http://0.test/200')
    content.fill('\xa5', at, at + 17, 'latin1')
    await writeFile(file, content)
    await damagePage(file, rootOfIndex(file))
    const { journal, quarantine } = await openDamaged(file)
    await using _ = journal
    expect(quarantine.salvaged).toEqual({ archives: 40, ended: 1 })
    const [archiveId] = written.keys()
    const record = (await journal.get(archiveId!))!
    expect(record.terminal).toMatchObject({ type: 'aborted', code: 'UNRECOVERABLE', seq: record.lastSeq })
    expect((await journal.facts(archiveId!, 1, 10)).at(-1)).toMatchObject({ type: 'aborted', seq: record.lastSeq })
    const { whole, ended } = await expectSound(journal, written)
    expect([whole, ended]).toEqual([39, 1])
  })

  it('keeps the last writes, which are in its WAL', async () => {
    await using directory = await tempDirectory()
    const [live, file] = [join(directory.path, 'live.db'), join(directory.path, 'copy.db')]
    const first = createSqliteJournal({ file: live })
    const written = await write(first)
    await first[Symbol.asyncDispose]()
    const root = rootOfIndex(live)
    const second = createSqliteJournal({ file: live })
    const last = requestOf({ manifestHash: hashOf(['http://last.test/']), totalEntries: 1 })
    await second.accept(last, ['http://last.test/'], '')
    for (const suffix of ['', '-wal']) await copyFile(live + suffix, file + suffix)
    await second[Symbol.asyncDispose]()
    await damagePage(file, root)
    const { journal, quarantine } = await openDamaged(file)
    await using _ = journal
    expect(quarantine.salvaged?.archives).toBe(written.size + 1)
    expect(await journal.get(last.archiveId)).toMatchObject(last)
  })

  it('is replaced by an empty one if its first page is lost, and kept aside as it was found', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'journal.db')
    const first = createSqliteJournal({ file })
    await write(first)
    await first[Symbol.asyncDispose]()
    const content = (await readFile(file)).fill(0xa5, 0, PAGE_BYTES)
    await writeFile(file, content)
    const { journal, quarantine } = await openDamaged(file)
    await using _ = journal
    expect(quarantine.salvaged).toBeNull()
    expect(await journal.kept()).toEqual([])
    expect((await readFile(quarantine.movedTo)).equals(content)).toBe(true)
    expect((await readdir(directory.path)).filter((name) => name.endsWith('-shm'))).toEqual([])
  })

  it('of the previous version keeps its content, too', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'journal.db')
    const old = new DatabaseSync(file)
    old.exec(await readFile(new URL('../../../fixtures/journal-v2.sql', import.meta.url), 'utf8'))
    old.close()
    await damagePage(file, rootOfIndex(file))
    const { journal, quarantine } = await openDamaged(file, () => true)
    await using _ = journal
    expect(quarantine.salvaged?.archives).toBe(4)
    expect((await journal.kept()).length).toBe(3)
    expect((await journal.holdings()).map(({ state }) => state).sort()).toEqual(['aborted', 'sealed', 'unfinished'])
  })
})

function isFoundDamaged(file: string): boolean {
  try {
    openDatabase(file).close()
    return false
  } catch {
    return true
  }
}

/** The root page of an index that is read only by checks and when an archive ends. */
function rootOfIndex(file: string): number {
  const db = new DatabaseSync(file)
  const row = db.prepare(`SELECT rootpage FROM sqlite_master WHERE name = 'archive_expiry'`).get() as {
    rootpage: number
  }
  db.close()
  return row.rootpage
}

/** Damages one page. Pages count from 1. */
async function damagePage(file: string, page: number): Promise<void> {
  const content = await readFile(file)
  await writeFile(file, content.fill(0xa5, (page - 1) * PAGE_BYTES, page * PAGE_BYTES))
}
