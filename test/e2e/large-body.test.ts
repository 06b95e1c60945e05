// A large body when the server is killed: what had arrived is not fetched again, and the bytes are right.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import { ask } from '../support/ask.ts'
import { bytes, sequence, stallAfter } from '../support/behaviours.ts'
import { bodyOf } from '../support/origin.ts'
import { tempDirectory } from '../support/temp.ts'
import { readZip, verifyZip } from '../support/unpack.ts'
import { completed, eachTestItsWorld, watch } from './world.ts'

const MiB = 1024 * 1024
const world = eachTestItsWorld()

it('resumes a large body with Range after kill -9, while watcher and download go on by themselves', async () => {
  const { origin } = world
  const body = bodyOf(48 * MiB, 'large')
  const url = origin.serve('/large.bin', sequence(stallAfter(40 * MiB, { body }), bytes(body)))
  const server = await world.start()
  const watched = watch(world.client(server.url).createArchive({ archiveKey: newArchiveKey(), entries: [url] }))
  await watched.first('progress', ({ receivedBytes }) => receivedBytes === 40 * MiB)
  await server.kill()
  await server.restart()
  const complete = await completed(watched.end)
  expect(complete).toMatchObject({ sealedEntries: 1, failedEntries: 0 })
  const ranges = origin.requests.map(({ headers }) => headers.range)
  expect(ranges[0]).toBeUndefined()
  // At most 16 MiB come twice: those since the last checkpoint.
  const from = Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? '')?.[1])
  expect(from).toBeGreaterThanOrEqual(24 * MiB)
  expect(ranges).toHaveLength(2)

  await using directory = await tempDirectory()
  const path = join(directory.path, 'large.zip')
  await writeFile(path, (await ask(server.url + complete.href)).body)
  await verifyZip(path)
  expect((await readZip(path))[0]!.body.equals(body)).toBe(true)
})
