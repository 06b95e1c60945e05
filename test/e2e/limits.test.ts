// How much of a server one client may use: places in the queue, and time to read events and bytes.
import { connect as dial } from 'node:net'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { newArchiveKey } from '#contracts/client.ts'
import { call, refusalOf } from '../contract/callers.ts'
import { ask, open } from '../support/ask.ts'
import { gate, status } from '../support/behaviours.ts'
import { checkStream } from '../support/event-schemas.ts'
import { until } from '../support/wait.ts'
import { completed, eachTestItsWorld, type Watched, watch } from './world.ts'

const world = eachTestItsWorld()

describe('the queue', () => {
  it('builds a limited number of archives at a time, reports the others their place, and lets them cancel', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_MAX_ACTIVE_ARCHIVES: '1' })
    const connection = world.client(server.url)
    const held = gate(status(200, {}, 'at last'))
    const entries = [origin.serve('/held', held.behaviour)]
    const keys = [newArchiveKey(), newArchiveKey(), newArchiveKey(), newArchiveKey()] as const
    const watched: Watched[] = []
    for (const archiveKey of keys) {
      const each = watch(connection.createArchive({ archiveKey, entries }))
      await each.first('progress')
      watched.push(each)
    }
    await held.waitFor(1)
    const place = (index: number) => watched[index]!.told.findLast((event) => event.type === 'progress')!.queuePosition
    expect([place(0), place(1), place(2), place(3)]).toEqual([null, 0, 1, 2])
    expect(await connection.cancelArchive(keys[1])).toBe(true)
    expect(await watched[1]!.end).toMatchObject({ type: 'aborted', code: 'CANCELLED' })
    await until(() => place(2) === 0 && place(3) === 1, { what: 'the others to move up' })
    held.open()
    for (const index of [0, 2, 3]) await completed(watched[index]!.end)
    expect(origin.count('/held')).toBe(3)
  })

  it('refuses archives as a retryable BUSY when it is full, and accepts them when there is room', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_MAX_UNFINISHED_ARCHIVES: '1' })
    const connection = world.client(server.url)
    const held = gate(status(200, {}, 'at last'))
    const first = { archiveKey: newArchiveKey(), entries: [origin.serve('/held', held.behaviour)] }
    const watched = watch(connection.createArchive(first))
    await held.waitFor(1)
    await using caller = call('http', server.url)
    const second = { archiveKey: newArchiveKey(), entries: [`${origin.url}/bytes/10/x`] }
    expect(await refusalOf(caller.trpc.submitArchive.mutate(second))).toMatchObject({
      code: 'BUSY',
      retryable: true,
      retryAfterMs: expect.any(Number),
      httpStatus: 429,
    })
    // An archive that it already has is not refused.
    expect((await caller.trpc.submitArchive.mutate(first)).type).toBe('accepted')
    const patient = watch(connection.createArchive(second))
    held.open()
    await completed(watched.end)
    await completed(patient.end)
  })
})

describe('slow clients', () => {
  it('drops a client that does not read its events, and sends all of them to a new connection', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_SLOW_READER_MS: '300' })
    const connection = world.client(server.url)
    const held = gate(status(200, {}, 'at last'))
    const archiveKey = newArchiveKey()
    const bad = Array.from({ length: 19_999 }, (_, index) => `no url ${index} ${'x'.repeat(1000)}`.slice(0, 180))
    const entries = [origin.serve('/held', held.behaviour), ...bad]
    const watched = watch(connection.createArchive({ archiveKey, entries }))
    await watched.first('progress', ({ failedEntries }) => failedEntries === 19_999)

    const deaf = new WebSocket(`ws://127.0.0.1:${server.port}/trpc`)
    deaf.on('error', () => {})
    await new Promise((resolve) => deaf.on('open', resolve))
    deaf.pause()
    for (let id = 0; id < 4; id++) {
      deaf.send(
        JSON.stringify({
          id,
          method: 'subscription',
          params: { path: 'watchArchive', input: { json: { archiveKey } } },
        }),
      )
    }
    await until(() => server.log.includes('slow reader dropped'), { what: 'the drop' })
    await using late = call('websocket', server.url)
    const watching = late.watch({ archiveKey })
    held.open()
    const told = await watching.ended
    checkStream(told)
    expect(told.filter(({ event }) => event.type === 'file-failed')).toHaveLength(19_999)
    await completed(watched.end)
    deaf.terminate()
  })

  it('cuts off a download whose client takes no bytes', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_DOWNLOAD_IDLE_TIMEOUT_MS: '300' })
    const connection = world.client(server.url)
    const entries = [`${origin.url}/bytes/60000000/x`]
    const complete = await completed(watch(connection.createArchive({ archiveKey: newArchiveKey(), entries })).end)
    const { pathname, port, hostname, host } = new URL(server.url + complete.href)
    const before = await server.descriptors()
    const idle = dial(Number(port), hostname)
    idle.write(`GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    await until(() => idle.readableLength > 0, { what: 'the head of the answer' })
    await until(async () => (await server.descriptors()).length <= before.length, { what: 'the connection to be cut' })
    let bytes = 0
    idle.on('error', () => {})
    idle.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    await new Promise((resolve) => idle.once('close', resolve))
    expect(bytes).toBeLessThan(complete.sizeBytes)
    expect((await ask(server.url + complete.href)).body.length).toBe(complete.sizeBytes)
  })
})

describe('one client among many', () => {
  it('may have a limited number of watches on one websocket, and does not block others', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_MAX_SUBSCRIPTIONS_PER_SOCKET: '2' })
    const held = gate(status(200, {}, 'at last'))
    const archiveKey = newArchiveKey()
    await using caller = call('websocket', server.url)
    await caller.trpc.submitArchive.mutate({ archiveKey, entries: [origin.serve('/held', held.behaviour)] })
    const [first] = [caller.watch({ archiveKey }), caller.watch({ archiveKey })]
    await until(() => first!.told.length > 0, { what: 'the first events' })
    expect(await refusalOf(caller.watch({ archiveKey }).ended)).toMatchObject({ code: 'BUSY', retryable: true })
    await using other = call('websocket', server.url)
    const late = other.watch({ archiveKey })
    held.open()
    expect((await late.ended).at(-1)?.event.type).toBe('complete')
    expect((await first!.ended).at(-1)?.event.type).toBe('complete')
  })

  it('may have a limited number of downloads at a time, and another one when one ends', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_MAX_DOWNLOADS_PER_CLIENT: '1' })
    const held = gate(status(200, {}, 'at last'))
    const watched = watch(
      world.client(server.url).createArchive({
        archiveKey: newArchiveKey(),
        entries: [origin.serve('/held', held.behaviour)],
      }),
    )
    const { href } = await watched.first('accepted')
    const following = await open(server.url + href)
    const refused = await ask(server.url + href)
    expect(refused.status).toBe(429)
    expect(refused.headers['retry-after']).toBeDefined()
    held.open()
    expect((await following.ended).whole).toBe(true)
    await until(async () => (await ask(server.url + href)).status === 200, { what: 'the place to be free again' })
  })

  it('may have a limited number of unfinished archives, counted by the address that a trusted proxy names', async () => {
    const { origin } = world
    const server = await world.start({ SHEAF_MAX_ARCHIVES_PER_CLIENT: '1', SHEAF_TRUST_PROXY: 'true' })
    const held = gate(status(200, {}, 'at last'))
    const entries = [origin.serve('/held', held.behaviour)]
    const submit = async (address: string) => {
      const body = JSON.stringify({ json: { archiveKey: newArchiveKey(), entries } })
      const headers = { 'content-type': 'application/json', 'x-forwarded-for': address }
      return (await ask(`${server.url}/trpc/submitArchive`, { method: 'POST', headers, body })).status
    }
    expect(await submit('192.0.2.1')).toBe(200)
    expect(await submit('192.0.2.1')).toBe(429)
    expect(await submit('192.0.2.2')).toBe(200)
    held.open()
  })
})
