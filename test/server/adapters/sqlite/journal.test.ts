// The journal in SQLite: the contract of all journals, and what the file adds to it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { createSqliteJournal, JournalLockedError } from '../../../../server/adapters/sqlite/journal.ts'
import { journalSuite } from '../../../conformance/journal.ts'
import { failedFact, requestOf } from '../../../support/archives.ts'
import { onSmallDisk } from '../../../support/small-disk.ts'
import { tempDirectory } from '../../../support/temp.ts'

journalSuite('sqlite', async () => {
  const directory = await tempDirectory()
  const file = join(directory.path, 'journal.db')
  let journal = createSqliteJournal({ file })
  return {
    get journal() {
      return journal
    },
    async reopen() {
      await journal[Symbol.asyncDispose]()
      journal = createSqliteJournal({ file })
    },
    async [Symbol.asyncDispose]() {
      await journal[Symbol.asyncDispose]()
      await directory[Symbol.asyncDispose]()
    },
  }
})

const root = fileURLToPath(new URL('../../../..', import.meta.url))

/** Writes a journal with 500 facts, and closes it. */
async function writeJournal(file: string): Promise<string> {
  await using journal = createSqliteJournal({ file })
  const request = requestOf()
  await journal.accept(request, ['http://a.test/'], '')
  const facts = Array.from({ length: 500 }, (_, index) => failedFact(index))
  await journal.append(request.archiveId, 1, facts)
  return request.archiveId
}

async function writeOldJournal(file: string): Promise<void> {
  const db = new DatabaseSync(file)
  db.exec(await readFile(new URL('../../../fixtures/journal-v2.sql', import.meta.url), 'utf8'))
  db.close()
}

/** Opens the file, which must be moved aside, and shows that the new one works. */
async function openDamaged(file: string): Promise<string> {
  const moved: string[] = []
  await using journal = createSqliteJournal({ file, onQuarantine: ({ movedTo }) => moved.push(movedTo) })
  const request = requestOf()
  await journal.accept(request, [], '')
  expect(await journal.kept()).toContain(request.archiveId)
  expect(moved).toHaveLength(1)
  return moved[0]!
}

describe('a journal file', () => {
  it('cannot be opened twice, in this process or in another, until the first has closed it', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'journal.db')
    const first = createSqliteJournal({ file })
    const id = requestOf().archiveId
    await first.accept(requestOf({ archiveId: id }), [], '')
    expect(() => createSqliteJournal({ file })).toThrow(JournalLockedError)
    const script = `
      import { createSqliteJournal } from './server/adapters/sqlite/journal.ts'
      try { createSqliteJournal({ file: process.env.JOURNAL }) } catch (error) { console.log(error.name) }`
    expect(await lastLine(script, file)).toBe('JournalLockedError')
    expect(await first.get(id)).not.toBeNull()
    await first[Symbol.asyncDispose]()
    await using second = createSqliteJournal({ file })
    expect(await second.get(id)).not.toBeNull()
    expect(await readdir(directory.path)).not.toContainEqual(expect.stringContaining('damaged'))
  })

  it('is moved aside whole if it is not a database', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'journal.db')
    await writeFile(file, 'a diary, not a database. '.repeat(1000))
    const aside = await openDamaged(file)
    expect(await readFile(aside, 'utf8')).toMatch(/^a diary/)
  })

  it('is moved aside if it is cut short', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'journal.db')
    await writeJournal(file)
    await truncate(file, Math.floor((await stat(file)).size / 2 / 4096) * 4096)
    await openDamaged(file)
  })

  it('is moved aside if pages in its middle are overwritten', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'journal.db')
    await writeJournal(file)
    const content = await readFile(file)
    content.fill(0xa5, 3 * 4096, 8 * 4096)
    await writeFile(file, content)
    await openDamaged(file)
  })

  it('is moved aside untouched if it is the database of another program', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'journal.db')
    const foreign = new DatabaseSync(file)
    foreign.exec(`CREATE TABLE archive (id TEXT); INSERT INTO archive VALUES ('theirs')`)
    foreign.close()
    const aside = new DatabaseSync(await openDamaged(file))
    expect(aside.prepare('SELECT id FROM archive').get()).toEqual({ id: 'theirs' })
    aside.close()
  })

  it('of the previous version is upgraded in place, with everything in it', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'journal.db')
    await writeOldJournal(file)
    await using journal = createSqliteJournal({ file, onQuarantine: () => expect.unreachable() })
    const [unfinished] = await journal.unfinished()
    expect(unfinished).toMatchObject({ name: 'unfinished.zip', nonce: '', client: '', lastSeq: 4, totalEntries: 3 })
    const { archiveId } = unfinished!
    const [manifest, facts] = [await journal.manifest(archiveId), await journal.facts(archiveId, 1, 10)]
    expect([manifest.length, facts.map(({ type }) => type)]).toEqual([
      3,
      ['entry-staged', 'entry-sealed', 'entry-failed'],
    ])
    const states = (await journal.holdings()).map(({ state, journalBytes }) => [state, journalBytes > 0])
    expect(states.sort()).toEqual([
      ['aborted', true],
      ['sealed', true],
      ['unfinished', true],
    ])
    const texts =
      JSON.stringify(manifest).length + facts.reduce((sum, { seq: _, ...fact }) => sum + JSON.stringify(fact).length, 0)
    // The rows add brackets and commas to the texts of the facts.
    expect(unfinished!.journalBytes - texts).toBe(5)
    await journal.append(archiveId, 4, [failedFact(2)])
    await journal.addUsage('a', 1, 1)
    expect(await journal.reclaim()).toBe(false)
  })

  it('keeps a number of the newest tombstones of a flood, and forgets the others a few at a time', async () => {
    await using directory = await tempDirectory()
    await using journal = createSqliteJournal({ file: join(directory.path, 'journal.db'), maxTombstones: 50 })
    const flood = Array.from({ length: 2_600 }, () => requestOf())
    for (const [index, request] of flood.entries()) {
      await journal.accept(request, [], '')
      await journal.bury(request.archiveId, 1_000 + index)
    }
    let turns = 0
    const count = () => turns++ < 1_000 && setImmediate(count)
    setImmediate(count)
    await journal.forget(0)
    expect(turns).toBeGreaterThanOrEqual(2)
    const records = await Promise.all(flood.map(({ archiveId }) => journal.get(archiveId)))
    expect(records.map((record) => record !== null)).toEqual(flood.map((_, index) => index >= 2_550))
    // Tombstones of one sweep have the same time.
    const swept = Array.from({ length: 120 }, () => requestOf())
    for (const request of swept) {
      await journal.accept(request, [], '')
      await journal.bury(request.archiveId, 4_000)
    }
    await journal.forget(0)
    const left = await Promise.all(swept.map(({ archiveId }) => journal.get(archiveId)))
    expect(left.filter((record) => record !== null).length).toBe(50)
  })

  it('forgets only tombstones that are old enough', async () => {
    await using directory = await tempDirectory()
    await using journal = createSqliteJournal({ file: join(directory.path, 'journal.db') })
    const flood = Array.from({ length: 2_600 }, () => requestOf())
    for (const [index, request] of flood.entries()) {
      await journal.accept(request, [], '')
      await journal.bury(request.archiveId, 1_000 + index)
    }
    await journal.forget(3_590)
    expect(await journal.get(flood[2_589]!.archiveId)).toBeNull()
    expect(await journal.get(flood[2_590]!.archiveId)).toMatchObject({ swept: true })
  })

  it('shrinks again after a flood, one brief step at a time, even if the previous version made it', async () => {
    await using directory = await tempDirectory()
    for (const old of [false, true]) {
      const file = join(directory.path, `${old}.db`)
      if (old) await writeOldJournal(file)
      const journal = createSqliteJournal({ file })
      const kept = requestOf()
      await journal.accept(kept, ['kept'], '')
      const facts = Array.from({ length: 5_000 }, (_, index) => failedFact(index))
      const flood = Array.from({ length: 10 }, () => requestOf())
      for (const request of flood) {
        await journal.accept(request, ['x'.repeat(1_000_000)], '')
        await journal.append(request.archiveId, 1, facts)
      }
      for (const { archiveId } of flood) await journal.bury(archiveId, 1)
      const steps: number[] = []
      for (let more = true; more; ) {
        const startedMs = performance.now()
        more = await journal.reclaim()
        steps.push(performance.now() - startedMs)
      }
      expect(steps.length).toBeGreaterThan(5)
      expect(steps.sort((a, b) => a - b)[steps.length >> 1]).toBeLessThan(50)
      expect(await journal.manifest(kept.archiveId)).toEqual(['kept'])
      const { size } = await stat(file)
      expect([old, size < 200_000 || size]).toEqual([old, true])
      expect((await stat(`${file}-wal`)).size).toBeLessThan(9_000_000)
      await journal[Symbol.asyncDispose]()
    }
  })

  it('of a later version is refused and not changed', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'journal.db')
    await writeJournal(file)
    const db = new DatabaseSync(file)
    db.exec('PRAGMA user_version = 99')
    db.close()
    expect(() => createSqliteJournal({ file })).toThrow('schema 99')
    expect(await readdir(directory.path)).toEqual(['journal.db'])
  })

  it('throws its own error type if the disk is full, keeps its content, and goes on when there is space again', async () => {
    const told = await onSmallDisk(`
      import { rmSync, writeFileSync } from 'node:fs'
      import { createSqliteJournal } from './server/adapters/sqlite/journal.ts'
      import { failedFact, requestOf } from './test/support/archives.ts'
      await using journal = createSqliteJournal({ file: process.env.TMPDIR + '/journal.db' })
      const request = requestOf()
      await journal.accept(request, ['http://a.test/'], '')
      const hog = (size: number) => process.env.TMPDIR + '/hog-' + size
      const sizes = Array.from({ length: 20 }, (_, power) => 1 << (19 - power))
      for (const size of sizes) { try { writeFileSync(hog(size), Buffer.alloc(size)) } catch {} }
      const failed = (work: Promise<unknown>) => work.then(() => 'done', (error) => error.name)
      const many = Array.from({ length: 300 }, (_, index) => failedFact(index))
      tell(await failed(journal.append(request.archiveId, 1, many)))
      tell(await failed(journal.accept(requestOf(), ['x'.repeat(20_000)], '')))
      tell([(await journal.kept()).length, (await journal.get(request.archiveId))?.lastSeq])
      for (const size of sizes) rmSync(hog(size), { force: true })
      tell(await failed(journal.append(request.archiveId, 1, many)))
      tell((await journal.facts(request.archiveId, 1, 1_000)).length)
    `)
    expect(told).toEqual(['NoSpaceError', 'NoSpaceError', [1, 1], 'done', 300])
  })

  it('is not open to other users', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'data', 'journal.db')
    await using _ = createSqliteJournal({ file })
    expect((await stat(join(directory.path, 'data'))).mode & 0o077).toBe(0)
  })

  it('has every fact that was acknowledged before its process was killed, and no half of a transaction', async () => {
    await using directory = await tempDirectory()
    const file = join(directory.path, 'journal.db')
    const request = requestOf()
    const child = spawnScript(
      `
      import { createSqliteJournal } from './server/adapters/sqlite/journal.ts'
      const journal = createSqliteJournal({ file: process.env.JOURNAL })
      const request = ${JSON.stringify(request)}
      await journal.accept(request, ['http://a.test/'], '')
      const fact = (index) => ({ type: 'entry-failed', index, code: 'HTTP_STATUS', attempts: 1, httpStatus: 404 })
      for (let seq = 1; ; seq += 7) {
        await journal.append(request.archiveId, seq, Array.from({ length: 7 }, (_, n) => fact(seq + n)))
        process.stdout.write(seq + 7 + '\\n')
      }`,
      file,
    )
    let acknowledged = 0
    for await (const line of createInterface({ input: child.stdout! })) {
      acknowledged = Number(line)
      if (acknowledged > 2_000 && !child.killed) child.kill('SIGKILL')
    }
    await using journal = createSqliteJournal({ file, onQuarantine: () => expect.unreachable() })
    const { lastSeq } = (await journal.get(request.archiveId))!
    expect(acknowledged).toBeGreaterThan(2_000)
    expect(lastSeq).toBeGreaterThanOrEqual(acknowledged)
    const facts = await journal.facts(request.archiveId, 1, 1_000_000)
    expect(facts.map(({ seq }) => seq)).toEqual(Array.from({ length: lastSeq - 1 }, (_, index) => index + 2))
    expect(facts.length % 7).toBe(0)
  })
})

function spawnScript(script: string, file: string) {
  const parameters = ['--input-type=module-typescript', '--eval', script]
  return spawn(process.execPath, parameters, {
    cwd: root,
    env: { ...process.env, JOURNAL: file },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

async function lastLine(script: string, file: string): Promise<string> {
  const child = spawnScript(script, file)
  let output = ''
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  await once(child, 'close')
  return output.trim()
}
