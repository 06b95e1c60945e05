// What may be lost to a failing disk and a wrong clock, and what may not. Uses real servers on real data directories.
import { appendFile, copyFile, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { buffer } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import { ask, open } from '../support/ask.ts'
import { bytes, gate } from '../support/behaviours.ts'
import { mount } from '../support/mounts.ts'
import { bodyOf } from '../support/origin.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { completed, eachTestItsWorld, watch } from './world.ts'

const world = eachTestItsWorld()

const journalOf = ({ dataDir }: TestServer) => join(dataDir, 'journal.db')

async function loseJournal(server: TestServer): Promise<void> {
  for (const suffix of ['', '-wal', '-shm']) await rm(journalOf(server) + suffix, { force: true })
}

describe('a journal that was lost', () => {
  it('is repaired by clients that have key and manifest: they submit again, once, and get their archive', async () => {
    const { origin } = world
    const server = await world.start()
    const held = gate(bytes(bodyOf(900, 'held')))
    const entries = [`${origin.url}/bytes/70000/a`, origin.serve('/held', held.behaviour)]
    const large = Array.from({ length: 9_000 }, (_, n) => ({ url: `not a url ${n}`, name: `name ${n}` }))
    // One manifest is small and goes over the socket. The other is too large for it and goes by a call.
    const watchers = [entries, [...entries, ...large]].map((list) =>
      watch(world.client(server.url).createArchive({ archiveKey: newArchiveKey(), entries: list })),
    )
    for (const { first } of watchers) await first('progress', ({ sealedEntries }) => sealedEntries === 1)
    await server.kill()
    await loseJournal(server)
    await server.restart()
    held.open()
    for (const { end, told } of watchers) {
      const complete = await completed(end)
      const accepted = told.filter(({ type }) => type === 'accepted') as { href: string }[]
      expect(accepted).toHaveLength(2)
      expect(accepted[0]!.href).not.toBe(accepted[1]!.href)
      expect(complete.href).toBe(accepted[1]!.href)
      expect((await ask(server.url + complete.href)).body).toHaveLength(complete.sizeBytes)
      expect((await ask(server.url + accepted[0]!.href)).status).toBe(404)
    }
  })

  it('ends a watch that has no manifest, because nothing can be submitted again', async () => {
    const { origin } = world
    const server = await world.start()
    const held = gate()
    const archiveKey = newArchiveKey()
    const connection = world.client(server.url)
    await connection.trpc.submitArchive.mutate({ archiveKey, entries: [origin.serve('/held', held.behaviour)] })
    const watched = watch(connection.watchArchive(archiveKey))
    await watched.first('progress')
    await server.kill()
    await loseJournal(server)
    await server.restart()
    await expect(watched.end).rejects.toThrow('no such archive')
  })

  it('gives the same key another ETag and address, so that no download goes on with other bytes', async () => {
    const { origin } = world
    const server = await world.start()
    const path = '/changing.bin'
    const archiveKey = newArchiveKey()
    const make = async (letter: string) => {
      const entries = [origin.serve(path, bytes(Buffer.alloc(200_000, letter)))]
      return completed(watch(world.client(server.url).createArchive({ archiveKey, entries })).end)
    }
    const first = await make('A')
    await server.kill()
    await loseJournal(server)
    await server.restart()
    const second = await make('B')
    expect(second.etag).not.toBe(first.etag)
    expect(second.href).not.toBe(first.href)
    const resumed = await ask(server.url + second.href, { headers: { range: 'bytes=100000-', 'if-range': first.etag } })
    expect([resumed.status, resumed.body.includes('A')]).toEqual([200, false])
    expect((await ask(server.url + first.href)).status).toBe(404)
  })
})

describe('an address', () => {
  it('leads to nothing without its nonce or with another one', async () => {
    const { origin } = world
    const server = await world.start()
    const archiveKey = newArchiveKey()
    const entries = [`${origin.url}/bytes/100/a`]
    const { href } = await completed(watch(world.client(server.url).createArchive({ archiveKey, entries })).end)
    const [, archiveId, nonce] = /^\/archives\/([\w-]{22})\.([\w-]{11})\//.exec(href)!
    expect((await ask(server.url + href)).status).toBe(200)
    const others = ['', '.', `.${nonce!.slice(1)}`, `.${nonce}A`, `.${nonce!.slice(1)}${nonce![0]}`, `.${nonce}.1`]
    for (const other of others.filter((text) => text !== `.${nonce}`)) {
      const { status } = await ask(`${server.url}/archives/${archiveId}${other}/archive.zip`)
      expect([other, status]).toEqual([other, 404])
    }
  })

  it('is the id if the archive was accepted before nonces existed', async () => {
    const { origin } = world
    const server = await world.start()
    const archiveKey = newArchiveKey()
    const entries = [`${origin.url}/bytes/100/a`]
    const watched = watch(world.client(server.url).createArchive({ archiveKey, entries }))
    const { archiveId } = await watched.first('accepted')
    const { sizeBytes } = await completed(watched.end)
    await server.stop()
    const db = new DatabaseSync(journalOf(server))
    db.exec(`UPDATE archive SET request = json_remove(request, '$.nonce')`)
    db.close()
    await server.restart()
    const { status, headers, body } = await ask(`${server.url}/archives/${archiveId}/archive.zip`)
    expect([status, headers.etag, body.length]).toEqual([200, `"${archiveId}.1"`, sizeBytes])
    expect((await ask(`${server.url}/archives/${archiveId}.AAAAAAAAAAA/archive.zip`)).status).toBe(404)
  })
})

describe('facts that a power failure took back', () => {
  it('change the ETag of a growing archive but not of a complete one, and sound sealed entries are not fetched again', async () => {
    const { origin } = world
    const server = await world.start()
    const connection = world.client(server.url)
    const held = gate(bytes(bodyOf(900, 'held')))
    const [one, two] = [gate(bytes(bodyOf(50_000, 'one'))), gate(bytes(bodyOf(50_000, 'two')))]
    const entries = [
      origin.serve('/one', one.behaviour),
      origin.serve('/two', two.behaviour),
      origin.serve('/held', held.behaviour),
    ]
    const done = await completed(
      watch(connection.createArchive({ archiveKey: newArchiveKey(), entries: [`${origin.url}/bytes/9/done`] })).end,
    )
    const watched = watch(connection.createArchive({ archiveKey: newArchiveKey(), entries }))
    const { href } = await watched.first('accepted')
    one.open()
    await watched.first('progress', ({ sealedEntries }) => sealedEntries === 1)
    // The copy has the directory as it is on disk now. It is put back as a power failure would.
    const copy = join(server.dataDir, 'copy')
    await mkdir(copy)
    const keep = async (from: string, to: string) => {
      for (const name of ['journal.db', 'journal.db-wal']) await copyFile(join(from, name), join(to, name))
    }
    await keep(server.dataDir, copy)
    two.open()
    await watched.first('progress', ({ sealedEntries }) => sealedEntries === 2)
    const growing = await open(server.url + href)
    await growing.has(100_000)
    const { etag } = growing.headers
    await server.kill()
    const before = await growing.ended
    await keep(copy, server.dataDir)

    origin.serve('/two', bytes(bodyOf(50_000, 'other')))
    await server.restart()
    const headers = { range: `bytes=${before.body.length}-9007199254740991`, 'if-range': etag! }
    const resumed = await open(server.url + href, { headers })
    expect(resumed.status).toBe(200)
    held.open()
    const complete = await completed(watched.end)
    const { body, whole } = await resumed.ended
    expect([whole, body.length, resumed.headers.etag]).toEqual([true, complete.sizeBytes, complete.etag])
    expect(complete.etag).not.toBe(etag)
    expect(body.includes(bodyOf(50_000, 'other'))).toBe(true)
    expect(origin.count('/one')).toBe(1)
    expect((await ask(server.url + done.href)).headers.etag).toBe(done.etag)
  })
})

describe('bytes that no fact speaks of', () => {
  const ORPHAN = 'OrphanOrphanOrphanOrph'

  async function withOrphan(server: TestServer): Promise<() => Promise<boolean>> {
    const folder = join(server.dataDir, 'spool', ORPHAN)
    await mkdir(folder)
    await writeFile(join(folder, 'log'), 'bytes of somebody')
    return () =>
      stat(folder).then(
        () => true,
        () => false,
      )
  }

  it('stay if the journal was damaged, because it may have known them', async () => {
    const server = await world.start()
    await server.stop()
    const isThere = await withOrphan(server)
    await writeFile(journalOf(server), 'no journal at all. '.repeat(1_000))
    await server.restart()
    await server.stop()
    await server.restart()
    expect(await isThere()).toBe(true)
    expect(server.log).toContain('journal was damaged')
    expect((await readdir(server.dataDir)).some((name) => name.startsWith('journal.db.damaged-'))).toBe(true)
  })

  it('are removed a day after that', async () => {
    const server = await world.start()
    await server.stop()
    const isThere = await withOrphan(server)
    await writeFile(journalOf(server), 'no journal at all. '.repeat(1_000))
    await server.restart()
    await server.stop()
    const db = new DatabaseSync(journalOf(server))
    db.exec('UPDATE state SET damaged_at = damaged_at - 90000000')
    db.close()
    await server.restart()
    expect(await isThere()).toBe(false)
  })
})

it('starts even if bytes cannot be removed, and removes them later', async () => {
  const { origin } = world
  const server = await world.start({ SHEAF_RETENTION_MS: '1000' })
  await server.stop()
  const spool = join(server.dataDir, 'spool')
  const folder = join(spool, 'OrphanOrphanOrphanOrph')
  await mkdir(folder)
  const mounted = join(server.dataDir, 'elsewhere')
  await mkdir(mounted)
  await appendFile(join(mounted, 'log'), 'somebody is in there')
  {
    await using _ = await mount('--bind', mounted, folder)
    const startedMs = performance.now()
    await server.restart()
    expect(performance.now() - startedMs).toBeLessThan(9_000)
    expect(server.log).toContain('could not be removed')
    const entries = [`${origin.url}/bytes/100/a`]
    await completed(watch(world.client(server.url).createArchive({ archiveKey: newArchiveKey(), entries })).end)
  }
  await until(async () => !(await readdir(spool)).includes('OrphanOrphanOrphanOrph'), { what: 'the folder to go' })
})

it('opens no new download of an expired archive, even while earlier ones go on', async () => {
  const { origin } = world
  const server = await world.start({ SHEAF_RETENTION_MS: '1500' })
  const entries = [`${origin.url}/bytes/9000000/a`]
  const { href, sizeBytes } = await completed(
    watch(world.client(server.url).createArchive({ archiveKey: newArchiveKey(), entries })).end,
  )
  const early = await new Promise<IncomingMessage>((resolve) => get(server.url + href, { agent: false }, resolve))
  await until(async () => (await ask(server.url + href, { method: 'HEAD' })).status === 404, { what: 'its end' })
  const body = await buffer(early)
  expect([early.complete, body.length]).toEqual([true, sizeBytes])
})
