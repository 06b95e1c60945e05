// After many clients have come and gone, the process holds no more than before, and neither does its disk.
import { readdir } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import { call } from '../contract/callers.ts'
import { ask, open } from '../support/ask.ts'
import { drip, status } from '../support/behaviours.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { completed, eachTestItsWorld, spooled, watch } from './world.ts'

const world = eachTestItsWorld()
const ROUNDS = 3
const CLIENTS = 20

/** Names sockets and pipes by kind only, because their numbers differ. */
async function held(server: TestServer): Promise<string[]> {
  const kinds = (await server.descriptors()).map((target) => target.replace(/\d+/g, 'n').replace(server.dataDir, ''))
  return kinds.sort()
}

it('holds no more descriptors and no more files after 20 clients in 3 rounds than before', async () => {
  const { origin } = world
  const server = await world.start({ SHEAF_ABANDON_MS: '300', SHEAF_RETENTION_MS: '2000' })
  const before = { descriptors: await held(server), files: (await readdir(server.dataDir)).sort() }
  const slow = origin.serve('/slow', drip(2000, 20))
  const missing = origin.serve('/missing', status(404))

  const visit = async (round: number, index: number) => {
    await using first = call('websocket', server.url)
    await using second = call('websocket', server.url)
    const archiveKey = newArchiveKey()
    const sound = [0, 1, 2].map(
      (n) => `${origin.url}/bytes/${1000 * (index + 1) ** (n + 1)}/${round}-${index}-${n}.bin`,
    )
    const leaves = index % 4 === 3
    const entries = [...sound, missing, ...(leaves ? [slow] : [])]
    const callers = index % 4 === 1 ? [first, second] : [first]
    const format = index % 5 === 4 ? 'tar.gz' : 'zip'
    const accepted = await Promise.all(
      callers.map(({ trpc }) => trpc.submitArchive.mutate({ archiveKey, entries, format })),
    )
    const href = server.url + accepted[0]!.href
    const watched = callers.map((caller) => caller.watch({ archiveKey }))
    if (leaves) {
      const coming = await open(server.url + accepted[0]!.href, { method: format === 'zip' ? 'GET' : 'HEAD' })
      await until(() => watched[0]!.told.length > 1, { what: 'progress' })
      if (index % 8 === 3) await first.trpc.cancelArchive.mutate({ archiveKey })
      for (const { leave } of watched) leave()
      coming.leave()
      return 'left'
    }
    const downloads = format === 'zip' ? callers.map(() => ask(href)) : []
    const ends = await Promise.all(watched.map(({ ended }) => ended))
    const { event } = ends[0]!.at(-1)!
    if (event.type !== 'complete') throw new Error(`ended as ${event.type}`)
    for (const { whole, body } of [...(await Promise.all(downloads)), await ask(href)]) {
      expect([whole, body.length]).toEqual([true, event.sizeBytes])
    }
    return 'complete'
  }
  for (let round = 0; round < ROUNDS; round++) {
    const outcomes = await Promise.all(Array.from({ length: CLIENTS }, (_, index) => visit(round, index)))
    expect(outcomes.filter((outcome) => outcome === 'complete')).toHaveLength(15)
  }

  await until(async () => (await spooled(server)).length === 0, { timeoutMs: 20_000, what: 'an empty spool' })
  await until(async () => (await held(server)).length <= before.descriptors.length, {
    timeoutMs: 20_000,
    what: 'the descriptors to be closed',
  })
  expect(await held(server)).toEqual(before.descriptors)
  expect((await readdir(server.dataDir)).sort()).toEqual(before.files)
  expect(origin.activeRequests).toBe(0)
  // The server still works.
  const entries = [`${origin.url}/bytes/10/x`]
  await completed(watch(world.client(server.url).createArchive({ archiveKey: newArchiveKey(), entries })).end)
  expect(server.log.split('\n').filter((line) => / (error|warn) /.test(line))).toEqual([])
}, 60_000)
