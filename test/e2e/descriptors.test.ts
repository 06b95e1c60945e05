// A process that may open few files: it accepts no more than it can serve, and whatever waits for a descriptor gets one.
import { once } from 'node:events'
import { connect as dial } from 'node:net'
import { expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import { ask } from '../support/ask.ts'
import { delayed, pathBytes } from '../support/behaviours.ts'
import { startOrigin } from '../support/origin.ts'
import { startServer } from '../support/server.ts'
import { completed, eachTestItsWorld, watch } from './world.ts'

const world = eachTestItsWorld()

it('completes an archive of many large entries with 128 descriptors and 40 clients connected', async () => {
  const more = await Promise.all(['127.0.0.2', '127.0.0.3', '127.0.0.4'].map((host) => startOrigin({ host })))
  const origins = [world.origin, ...more.map((origin) => world.use(origin))]
  const server = world.use(await startServer({ maxDescriptors: 128 }))
  for (let n = 0; n < 40; n++) {
    const socket = dial(server.port, '127.0.0.1').on('error', () => {})
    world.defer(() => void socket.destroy())
    await once(socket, 'connect')
    socket.write('GET / HT')
  }
  // All sources answer together, so that as many as possible are open at a time.
  const entries = Array.from({ length: 150 }, (_, n) =>
    origins[n % origins.length]!.serve(`/bytes/3000000/${n}`, delayed(50, pathBytes())),
  )
  const connection = world.client(server.url)
  const watched = watch(connection.createArchive({ archiveKey: newArchiveKey(), entries }))
  let most = 0
  const counting = setInterval(async () => {
    most = Math.max(most, (await server.descriptors().catch(() => [])).length)
  }, 20)
  const { href, sizeBytes, failedEntries } = await completed(watched.end)
  clearInterval(counting)
  expect(most).toBeLessThan(128)
  expect(origins.reduce((sum, { requests }) => sum + requests.length, 0)).toBe(entries.length)
  expect(failedEntries).toBe(0)
  expect((await ask(server.url + href)).body.length).toBe(sizeBytes)
  const notices = server.log.split('\n').filter((line) => / (error|warn) /.test(line))
  expect(notices).toEqual([expect.stringMatching(/few descriptors .* limit=128 /)])
}, 60_000)
