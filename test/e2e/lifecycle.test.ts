// The life of an archive across lost connections, kills and restarts: nothing is lost, comes twice, or is left behind.
import { mkdir, writeFile } from 'node:fs/promises'
import { connect as dial } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import { isTerminal } from '#contracts/events.ts'
import { call, refusalOf } from '../contract/callers.ts'
import { ask, converse, open } from '../support/ask.ts'
import { bodyOf, drip, gate, pathBytes, status } from '../support/behaviours.ts'
import { startCuttingProxy } from '../support/cutting-proxy.ts'
import { checkStream } from '../support/event-schemas.ts'
import { runServer } from '../support/run-server.ts'
import { until } from '../support/wait.ts'
import { completed, eachTestItsWorld, spooled, watch } from './world.ts'

const world = eachTestItsWorld()

describe('watching', () => {
  it('reports each failure and the end exactly once, even if the network is cut again and again', async () => {
    const { origin } = world
    const server = await world.start()
    const proxy = world.use(await startCuttingProxy({ targetPort: server.port }))
    const lost: (string | null)[] = []
    const connection = world.client(`http://127.0.0.1:${proxy.port}`, {
      onConnectionChange: (reason) => lost.push(reason),
    })
    const gates = Array.from({ length: 5 }, () => gate(status(404)))
    const missing = Array.from({ length: 100 }, (_, index) => origin.serve(`/missing-${index}`, status(404)))
    const held = gates.map(({ behaviour }, round) => origin.serve(`/held-${round}`, behaviour))
    const entries = [...held, ...missing, `${origin.url}/bytes/1000/kept`]
    const watched = watch(connection.createArchive({ archiveKey: newArchiveKey(), entries }))
    for (const [round, { open }] of gates.entries()) {
      const failures = () => watched.told.filter(({ type }) => type === 'file-failed').length
      await until(() => failures() === 100 + round, { what: `the failures before round ${round}` })
      const before = proxy.connections
      // Every other time the new connection is cut too, while it sends events.
      if (round % 2 === 0) proxy.cutAfter(400)
      proxy.cutAll()
      open()
      await until(() => proxy.connections > before, { what: 'a new connection' })
      proxy.cutAfter(null)
    }
    await completed(watched.end)
    const failed = watched.told.filter((event) => event.type === 'file-failed').map(({ index }) => index)
    expect(failed.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 105 }, (_, index) => index))
    expect(watched.told.filter(isTerminal)).toHaveLength(1)
    expect(watched.told.filter(({ type }) => type === 'accepted')).toHaveLength(1)
    expect(lost).toContain('connection lost')
    for (const round of gates.keys()) expect(origin.count(`/held-${round}`)).toBe(1)
  })

  it('does not abandon an archive whose caller is slow to read its acceptance', async () => {
    const server = await world.start({ SHEAF_ABANDON_MS: '300' })
    const entries = [world.origin.serve('/held', gate().behaviour)]
    const events = world.client(server.url).createArchive({ archiveKey: newArchiveKey(), entries })
    expect((await events.next()).value).toMatchObject({ type: 'accepted' })
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(server.log).not.toContain('ABANDONED')
    // It is abandoned when the caller leaves.
    await events.return(undefined)
    await until(() => server.log.includes('ABANDONED'), { what: 'the build to be abandoned' })
  })

  it('abandons a build that nobody watches or downloads any more, and leaves nothing of it on disk', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_ABANDON_MS: '300' })
    const held = gate()
    const entries = [`${origin.url}/bytes/5000000/first`, origin.serve('/held', held.behaviour)]
    const archiveKey = newArchiveKey()
    await using leaving = call('websocket', server.url)
    const { href } = await leaving.trpc.submitArchive.mutate({ archiveKey, entries })
    const watching = leaving.watch({ archiveKey })
    const coming = await open(server.url + href)
    await coming.has(5_000_000)
    await held.waitFor(1)
    expect(await spooled(server)).not.toEqual([])
    watching.leave()
    coming.leave()
    await until(() => held.waiting === 0, { what: 'the fetch to be given up' })
    await until(async () => (await spooled(server)).length === 0, { what: 'an empty spool' })
    await using later = call('http', server.url)
    const told = await later.watch({ archiveKey }).ended
    checkStream(told)
    expect(told.at(-1)!.event).toMatchObject({ type: 'aborted', code: 'ABANDONED', retryable: true })
    expect((await ask(server.url + href)).status).toBe(404)
  })

  it('keeps a build that is only downloaded, and one that was told to finish', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_ABANDON_MS: '300' })
    const connection = world.client(server.url)
    const { trpc } = connection
    const held = gate(status(200, {}, 'at last'))
    const entries = [`${origin.url}/bytes/1000/first`, origin.serve('/held', held.behaviour)]
    const [downloaded, finishing, abandoned] = [newArchiveKey(), newArchiveKey(), newArchiveKey()]
    const { href } = await trpc.submitArchive.mutate({ archiveKey: downloaded, entries })
    const coming = await open(server.url + href)
    await trpc.submitArchive.mutate({ archiveKey: finishing, entries, whenUnwatched: 'finish' })
    await trpc.submitArchive.mutate({ archiveKey: abandoned, entries })
    await held.waitFor(3)
    // The third build came last, so when it is abandoned the others had enough time.
    await until(() => server.log.includes('ABANDONED'), { what: 'the third build to be abandoned' })
    await until(() => held.waiting === 2, { what: 'its fetch to be given up' })
    held.open()
    expect((await coming.ended).whole).toBe(true)
    await completed(watch(connection.watchArchive(downloaded)).end)
    await completed(watch(connection.watchArchive(finishing)).end)
    expect((await watch(connection.watchArchive(abandoned)).end).type).toBe('aborted')
  })
})

describe('restarting', () => {
  it('goes on after kill -9: nothing is fetched twice, the client goes on, and the bytes are the same', async () => {
    const { origin } = world
    const server = await world.start()
    const connection = world.client(server.url)
    const held = gate(pathBytes())
    const sources = Array.from({ length: 20 }, (_, index) => `${origin.url}/bytes/${100 + index}/small.bin`)
    sources.push(origin.serve('/missing', status(404)), `${origin.url}/bytes/6000000/large.bin`)
    const heldUrl = origin.serve('/bytes/7000/held.bin', held.behaviour)
    const behind = [`${origin.url}/bytes/300/behind.bin`, `${origin.url}/bytes/5000000/behind-and-large.bin`]
    const entries = [...sources, heldUrl, ...behind]
    const archiveKey = newArchiveKey()
    const watched = watch(connection.createArchive({ archiveKey, entries }))
    const { href } = await watched.first('accepted')
    await watched.first('progress', ({ sealedEntries }) => sealedEntries === 21)
    await held.waitFor(1)
    const coming = await open(server.url + href)
    await coming.has(6_000_000)
    // Entries behind the gate are whole. They show a size once that is journalled.
    const listed = async () => (await connection.trpc.listEntries.query({ archiveKey })).entries.slice(-2)
    await until(async () => (await listed()).every((entry) => entry.state === 'staged' && entry.sizeBytes !== null), {
      what: 'the entries behind the gate to be staged',
    })
    await server.kill()
    const before = await coming.ended
    expect(before.whole).toBe(false)
    await until(() => held.waiting === 0, { what: 'the connection to be gone' })

    await server.restart()
    await held.waitFor(1)
    held.open()
    const complete = await completed(watched.end)
    expect(complete).toMatchObject({ href, sealedEntries: 24, failedEntries: 1, etag: before.headers.etag })
    for (const url of [...sources, ...behind]) expect([url, origin.count(new URL(url).pathname)]).toEqual([url, 1])
    expect(origin.count('/bytes/7000/held.bin')).toBe(2)
    expect(watched.told.filter(({ type }) => type === 'file-failed')).toHaveLength(1)
    expect(watched.told.filter(({ type }) => type === 'accepted')).toHaveLength(1)

    const after = await ask(server.url + href)
    expect([after.whole, after.body.length, after.headers.etag]).toEqual([true, complete.sizeBytes, complete.etag])
    expect(after.body.subarray(0, before.body.length).equals(before.body)).toBe(true)
    const inOneGo = await completed(watch(connection.createArchive({ archiveKey: newArchiveKey(), entries })).end)
    expect((await ask(server.url + inOneGo.href)).body.equals(after.body)).toBe(true)
  })

  it('offers a complete archive again, with the same ETag', async () => {
    const { origin } = world
    const server = await world.start()
    const connection = world.client(server.url)
    const archiveKey = newArchiveKey()
    const entries = [`${origin.url}/bytes/3000000/x`]
    const complete = await completed(watch(connection.createArchive({ archiveKey, entries })).end)
    const { body } = await ask(server.url + complete.href)
    await server.kill()
    await server.restart()
    const again = await ask(server.url + complete.href, { headers: { 'if-match': complete.etag } })
    expect([again.status, again.body.equals(body)]).toEqual([200, true])
    expect(await watch(connection.watchArchive(archiveKey)).end).toEqual(complete)
  })

  it('refuses a second process on the same data directory, and the first one does not notice', async () => {
    const server = await world.start()
    const { code, stderr, stdout } = await runServer({ SHEAF_DATA_DIR: server.dataDir })
    expect({ code, stderr, stdout }).toEqual({
      code: 1,
      stderr: `${server.dataDir} is in use by another sheaf\n`,
      stdout: '',
    })
    expect((await ask(`${server.url}/healthz`)).status).toBe(200)
  })

  it('removes files from the spool that belong to no archive', async () => {
    const { origin } = world
    const server = await world.start()
    const connection = world.client(server.url)
    const entries = [`${origin.url}/bytes/1000/x`]
    const complete = await completed(watch(connection.createArchive({ archiveKey: newArchiveKey(), entries })).end)
    const mine = await spooled(server)
    await server.stop()
    const orphan = join(server.dataDir, 'spool', 'orphan-orphan-orphan-1')
    await mkdir(orphan)
    await writeFile(join(orphan, 'log'), 'left over')
    await server.restart()
    expect(await spooled(server)).toEqual(mine)
    expect((await ask(server.url + complete.href)).body.length).toBe(complete.sizeBytes)
  })
})

describe('ending', () => {
  it('exits with 0 within 10 s of SIGTERM while it builds and sends, and the next start goes on', async () => {
    const { origin } = world
    const server = await world.start()
    const connection = world.client(server.url)
    const held = gate(status(200, {}, 'at last'))
    const archiveKey = newArchiveKey()
    const entries = [`${origin.url}/bytes/3000000/x`, origin.serve('/held', held.behaviour)]
    const watched = watch(connection.createArchive({ archiveKey, entries }))
    const dripping = origin.serve('/dripping', drip(1000, 50, { body: bodyOf(10_000_000, 'slow') }))
    const other = watch(connection.createArchive({ archiveKey: newArchiveKey(), entries: [dripping] }))
    const { href } = await watched.first('accepted')
    await other.first('progress', ({ receivedBytes }) => receivedBytes > 0)
    const growing = await open(server.url + href)
    await growing.has(3_000_000)
    await using sse = call('http', server.url)
    const { told, leave } = sse.watch({ archiveKey })
    await until(() => told.length > 0, { what: 'an event over SSE' })
    // These connections are silent, or never finish their request.
    for (const text of ['', 'GET / HT', 'POST /trpc/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{']) {
      world.defer(converse(server.url, text).leave)
    }
    const startedAt = performance.now()
    expect(await server.stop()).toBe(0)
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    expect((await growing.ended).whole).toBe(false)
    leave()
    await server.restart()
    held.open()
    await completed(watched.end)
    expect(origin.count('/bytes/3000000/x')).toBe(1)
    expect(other.told.some(isTerminal)).toBe(false)
  })

  it('lets downloads of complete archives finish, but does not wait for a client that does not read', async () => {
    const { origin } = world
    const server = await world.start()
    const entries = [`${origin.url}/bytes/60000000/x`]
    const connection = world.client(server.url)
    const complete = await completed(watch(connection.createArchive({ archiveKey: newArchiveKey(), entries })).end)
    const { pathname, port, hostname, host } = new URL(server.url + complete.href)
    const idle = dial(Number(port), hostname)
    idle.write(`GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    await until(() => idle.bytesRead > 0 || idle.readableLength > 0, { what: 'the connection that reads no further' })
    const coming = await open(server.url + complete.href)
    const stopping = server.stop()
    const { body, whole } = await coming.ended
    expect([whole, body.length]).toEqual([true, complete.sizeBytes])
    expect(await stopping).toBe(0)
    let rest = 0
    idle.on('data', (chunk) => {
      rest += chunk.length
    })
    idle.on('error', () => {})
    await new Promise((resolve) => idle.once('close', resolve))
    expect(rest).toBeLessThan(complete.sizeBytes)
  })

  it('ends at once on a second SIGTERM', async () => {
    const server = await world.start()
    // The request that never ends delays the first SIGTERM.
    world.defer(converse(server.url, 'GET / HT').leave)
    await ask(`${server.url}/healthz`)
    const first = server.stop()
    await until(() => server.log.includes('stopping'), { what: 'the shutdown' })
    process.kill(server.pid, 'SIGTERM')
    expect(await first).toBe(1)
  })
})

describe('expiring', () => {
  it('sweeps an expired archive: GONE for its key, 404 for its address, nothing on disk, no second build', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_RETENTION_MS: '400' })
    const connection = world.client(server.url)
    const archiveKey = newArchiveKey()
    const entries = [`${origin.url}/bytes/3000000/x`]
    const complete = await completed(watch(connection.createArchive({ archiveKey, entries })).end)
    await until(async () => (await spooled(server)).length === 0, { what: 'the sweep' })
    expect((await ask(server.url + complete.href)).status).toBe(404)
    await using caller = call('websocket', server.url)
    const refused = [
      caller.trpc.submitArchive.mutate({ archiveKey, entries }),
      caller.watch({ archiveKey }).ended,
      caller.trpc.listEntries.query({ archiveKey }),
      caller.trpc.cancelArchive.mutate({ archiveKey }),
    ]
    for (const refusal of await Promise.all(refused.map(refusalOf))) {
      expect(refusal).toMatchObject({ code: 'GONE', retryable: false, httpStatus: 404 })
    }
    expect(origin.count('/bytes/3000000/x')).toBe(1)
  })

  it('keeps an expired archive while it is being downloaded', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_RETENTION_MS: '400' })
    const connection = world.client(server.url)
    // Two spool files, so that the open descriptor of the first would not be enough for the download.
    const entries = [`${origin.url}/bytes/30000000/x`, `${origin.url}/bytes/30000000/y`]
    const expiring = { archiveKey: newArchiveKey(), entries }
    const complete = await completed(watch(connection.createArchive(expiring)).end)
    const { pathname, port, hostname, host } = new URL(server.url + complete.href)
    const slow = dial(Number(port), hostname)
    slow.write(`GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    await until(() => slow.readableLength > 0, { what: 'the head of the answer' })
    // A second archive shows when the sweeper has run.
    const other = await completed(
      watch(connection.createArchive({ archiveKey: newArchiveKey(), entries: [`${origin.url}/bytes/10/y`] })).end,
    )
    await until(async () => (await ask(server.url + other.href)).status === 404, { what: 'the sweep of the other' })
    let bytes = 0
    for await (const chunk of slow) bytes += (chunk as Buffer).length
    expect(bytes).toBeGreaterThan(complete.sizeBytes)
    await until(async () => (await spooled(server)).length === 0, { what: 'its own sweep' })
  })
})
