// Slow clients: they are cut off if bytes are ready for them, and never while they wait at the frontier.
import { connect as dial } from 'node:net'
import { expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import { open } from '../support/ask.ts'
import { drip, status } from '../support/behaviours.ts'
import { createBodyCounter } from '../support/body-counter.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { playSlowDownloads } from './slow-downloads-stage.ts'
import { completed, eachTestItsWorld, watch } from './world.ts'

const world = eachTestItsWorld()
const ENTRY_BYTES = 40_000_000

async function archiveOn(server: TestServer): Promise<{ href: string; sizeBytes: number }> {
  const entries = [`${world.origin.url}/bytes/${ENTRY_BYTES}/x`]
  return completed(watch(world.client(server.url).createArchive({ archiveKey: newArchiveKey(), entries })).end)
}

/** Reads `bytesAtOnce`, rests, and reads on. Resolves to the number of body bytes when the connection closes. */
async function trickle({ port }: TestServer, path: string, bytesAtOnce: number, restMs: number) {
  const socket = dial(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  const body = createBodyCounter()
  let since = 0
  socket.on('data', (chunk: Buffer) => {
    body.take(chunk)
    since += chunk.length
    if (since < bytesAtOnce) return
    since = 0
    socket.pause()
    setTimeout(() => socket.resume(), restMs)
  })
  await new Promise((resolve) => socket.once('close', resolve))
  return body.bytes
}

it('cuts off a download whose client is slower than the least rate, even if it never stops reading', async () => {
  const server = await world.start({
    SHEAF_DOWNLOAD_IDLE_TIMEOUT_MS: '2000',
    SHEAF_DOWNLOAD_MIN_BYTES_PER_SECOND: '50000000',
  })
  const { href, sizeBytes } = await archiveOn(server)
  expect(await trickle(server, href, 400_000, 50)).toBeLessThan(sizeBytes)
  expect(server.log).toContain('the client takes too few bytes')
})

it.each([
  ['that takes as many as asked for', '1000'],
  ['where no rate is asked for', '0'],
])('lets the same client finish its download %s', async (_, rate) => {
  const server = await world.start({
    SHEAF_DOWNLOAD_IDLE_TIMEOUT_MS: '2000',
    SHEAF_DOWNLOAD_MIN_BYTES_PER_SECOND: rate,
  })
  const { href, sizeBytes } = await archiveOn(server)
  expect(await trickle(server, href, 400_000, 30)).toBe(sizeBytes)
})

it('waits while a block goes out bit by bit, but only as long as the rate allows', async () => {
  const { patient, strict } = await playSlowDownloads()
  expect(patient.receivedBytes).toBe(patient.sizeBytes)
  expect(patient.log).not.toContain('broken off')
  // It was cut off before the first block had gone out.
  expect(strict.receivedBytes).toBeLessThan(256 * 1024)
  expect(strict.log).toContain('the client takes too few bytes')
}, 70_000)

it('does not blame a client if the archive grows slowly', async () => {
  const server = await world.start({
    SHEAF_DOWNLOAD_IDLE_TIMEOUT_MS: '300',
    SHEAF_DOWNLOAD_MIN_BYTES_PER_SECOND: '50000000',
  })
  const { origin } = world
  // Each entry comes some time after the one before it.
  const slow = Array.from({ length: 4 }, (_, n) =>
    origin.serve(`/slow-${n}`, drip(100, 100, { body: Buffer.alloc(500 * (n + 1)) })),
  )
  const entries = [...slow, origin.serve('/last', status(200, {}, 'the last one'))]
  const watched = watch(world.client(server.url).createArchive({ archiveKey: newArchiveKey(), entries }))
  const { href } = await watched.first('accepted')
  const coming = await open(server.url + href)
  await until(() => coming.received.length > 0, { what: 'the first entry' })
  const { whole, body } = await coming.ended
  expect([whole, body.length]).toEqual([true, (await completed(watched.end)).sizeBytes])
}, 20_000)
