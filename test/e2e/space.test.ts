// A spool that becomes full: an archive that is too big ends, a new one has to wait, and all others go on.
import { expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import { call, refusalOf } from '../contract/callers.ts'
import { ask } from '../support/ask.ts'
import { gate, pathBytes, status } from '../support/behaviours.ts'
import { onSmallDisk } from '../support/small-disk.ts'
import { until } from '../support/wait.ts'
import { completed, eachTestItsWorld, spooled, watch } from './world.ts'

const world = eachTestItsWorld()
const MB = 1_000_000

it('ends an archive that is too big for the spool as NO_SPACE, while another one goes on', async () => {
  const { origin } = world
  const server = await world.start({ SHEAF_SPOOL_MAX_BYTES: String(8 * MB) })
  const connection = world.client(server.url)
  const held = gate(pathBytes())
  const small = [`${origin.url}/bytes/${2 * MB}/small`, origin.serve('/bytes/5000/held', held.behaviour)]
  const beside = watch(connection.createArchive({ archiveKey: newArchiveKey(), entries: small }))
  await beside.first('progress', ({ sealedEntries }) => sealedEntries === 1)
  // Three ways to be too big: one large entry, many small ones, and a tar that is packed beside its bodies.
  const tooBig = [
    { entries: [`${origin.url}/bytes/${20 * MB}/large`] },
    { entries: Array.from({ length: 20 }, (_, n) => `${origin.url}/bytes/${MB}/many-${n}`) },
    { entries: [`${origin.url}/bytes/${4 * MB}/tarred`], format: 'tar' as const },
  ]
  for (const input of tooBig) {
    const { end } = watch(connection.createArchive({ archiveKey: newArchiveKey(), ...input }))
    expect(await end).toMatchObject({ type: 'aborted', code: 'NO_SPACE', retryable: true })
  }
  held.open()
  const { href, sizeBytes } = await completed(beside.end)
  expect((await ask(server.url + href)).body.length).toBe(sizeBytes)
  expect(await spooled(server)).toHaveLength(2)
})

it('refuses a new archive as NO_SPACE while the spool is full, still attaches known ones, and accepts it later', async () => {
  const { origin } = world
  const server = await world.start({ SHEAF_SPOOL_MAX_BYTES: String(4 * MB), SHEAF_RETENTION_MS: '5000' })
  const connection = world.client(server.url)
  const first = { archiveKey: newArchiveKey(), entries: [`${origin.url}/bytes/${3.5 * MB}/first`] }
  await completed(watch(connection.createArchive(first)).end)
  const second = { archiveKey: newArchiveKey(), entries: [`${origin.url}/bytes/${2 * MB}/second`] }
  const waitedFor: (string | null)[] = []
  const waiting = world.client(server.url, { onConnectionChange: (reason) => waitedFor.push(reason) })
  const patient = watch(waiting.createArchive({ archiveKey: newArchiveKey(), entries: [`${origin.url}/bytes/9/x`] }))
  await using caller = call('http', server.url)
  expect(await refusalOf(caller.trpc.submitArchive.mutate(second))).toEqual({
    code: 'NO_SPACE',
    message: 'the server has no space left; try again later',
    retryable: true,
    retryAfterMs: 10_000,
    httpStatus: 503,
  })
  expect((await caller.trpc.submitArchive.mutate(first)).type).toBe('accepted')
  await until(async () => (await spooled(server)).length === 0, { what: 'the first archive to expire' })
  expect((await caller.trpc.submitArchive.mutate(second)).type).toBe('accepted')
  await using watching = call('websocket', server.url)
  expect((await watching.watch({ archiveKey: second.archiveKey }).ended).at(-1)?.event.type).toBe('complete')
  // Our own client waited and tried again by itself.
  await completed(patient.end)
  expect(waitedFor[0]).toBe('the server has no space left; try again later')
  expect(origin.count('/bytes/2000000/second')).toBe(1)
}, 40_000)

it('counts what an earlier process left in the spool', async () => {
  const { origin } = world
  const server = await world.start({ SHEAF_SPOOL_MAX_BYTES: String(4 * MB) })
  const entries = [`${origin.url}/bytes/${3.5 * MB}/x`]
  await completed(watch(world.client(server.url).createArchive({ archiveKey: newArchiveKey(), entries })).end)
  await server.kill()
  await server.restart()
  await using caller = call('http', server.url)
  const refused = caller.trpc.submitArchive.mutate({ archiveKey: newArchiveKey(), entries })
  expect(await refusalOf(refused)).toMatchObject({ code: 'NO_SPACE' })
})

it('refuses a new archive if the disk has no more than its reserve', async () => {
  const { origin } = world
  const server = await world.start({ SHEAF_SPOOL_RESERVE_BYTES: String(2 ** 53 - 1) })
  await using caller = call('http', server.url)
  const entries = [origin.serve('/x', status(200, {}, 'x'))]
  const refused = caller.trpc.submitArchive.mutate({ archiveKey: newArchiveKey(), entries })
  expect(await refusalOf(refused)).toMatchObject({ code: 'NO_SPACE', retryAfterMs: 10_000 })
})

it('survives a full disk: only archives that write meanwhile end, and afterwards everything works again', async () => {
  const told = await onSmallDisk(
    `
    import { writeFile, rm } from 'node:fs/promises'
    import { connect, newArchiveKey } from './contracts/client.ts'
    import { completed, watch } from './test/support/watching.ts'
    import { ask } from './test/support/ask.ts'
    import { gate, pathBytes } from './test/support/behaviours.ts'
    import { startOrigin } from './test/support/origin.ts'
    import { startServer } from './test/support/server.ts'
    import { until } from './test/support/wait.ts'
    await using origin = await startOrigin()
    // Without a reserve it is the kernel that refuses.
    await using server = await startServer({ env: { SHEAF_SPOOL_RESERVE_BYTES: '0', SHEAF_RETENTION_MS: '4000' } })
    const connection = connect({ url: server.url })
    const make = (entries) => watch(connection.createArchive({ archiveKey: newArchiveKey(), entries }))
    const held = gate(pathBytes())
    const sealed = await completed(make([origin.url + '/bytes/1000000/sealed']).end)
    const beside = make([origin.url + '/bytes/1000000/beside', origin.serve('/bytes/5000/held', held.behaviour)])
    await beside.first('progress', ({ sealedEntries }) => sealedEntries === 1)
    const large = await make([origin.url + '/bytes/40000000/large']).end
    tell([large.type, large.code])
    tell((await ask(server.url + '/healthz')).status)
    held.open()
    tell((await completed(beside.end)).sealedEntries)
    const { body, whole } = await ask(server.url + sealed.href)
    tell([whole, body.length === sealed.sizeBytes])
    // No byte is left, not even for the journal. Expiring still makes room.
    let hogged = 0
    for (let size = 2 ** 24; size >= 512; size /= 2) {
      while (await writeFile(process.env.TMPDIR + '/hog-' + hogged++, Buffer.alloc(size)).then(() => true, () => false));
    }
    await until(async () => (await ask(server.url + sealed.href)).status === 404, { what: 'the first to expire' })
    for (let n = 0; n < hogged; n++) await rm(process.env.TMPDIR + '/hog-' + n, { force: true })
    tell((await completed(make([origin.url + '/bytes/1000000/next']).end)).sealedEntries)
    await connection.close()
    tell(await server.stop())
  `,
    { size: '16m' },
  )
  expect(told).toEqual([['aborted', 'NO_SPACE'], 200, 2, [true, true], 1, 0])
}, 40_000)
