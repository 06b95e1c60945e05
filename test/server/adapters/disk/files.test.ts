// Open files of the spool: never more than allowed, no part waits for another, and a lack of descriptors is waited out.
import { execFile } from 'node:child_process'
import { readdir, readlink } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { whenDescriptorsAllow } from '../../../../server/adapters/disk/files.ts'
import { createDiskSpool } from '../../../../server/adapters/disk/spool.ts'
import { newArchiveId } from '../../../support/archives.ts'
import { bodyOf } from '../../../support/origin.ts'
import { tempDirectory } from '../../../support/temp.ts'

const root = fileURLToPath(new URL('../../../..', import.meta.url))
const NOTHING = new Map<string, number>()

async function openParts(directory: string): Promise<number> {
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  )
  return links.filter((link) => link.startsWith(directory) && link.includes('/part-')).length
}

it('has a limited number of parts open, however many are written in turn and at once', async () => {
  await using directory = await tempDirectory()
  await using spool = await createDiskSpool({ directory: directory.path, maxOpenParts: 3 })
  const ids = [newArchiveId(), newArchiveId()]
  const writers = await Promise.all(ids.map((id) => spool.writer(id, NOTHING)))
  const parts = await Promise.all(Array.from({ length: 20 }, (_, n) => writers[n % 2]!.createPart()))
  const bodies = parts.map((_, n) => bodyOf(100_000, n))
  for (let at = 0; at < 100_000; at += 20_000) {
    const piece = (n: number) => [bodies[n]!.subarray(at, at + 20_000)]
    const writing = Promise.all(parts.map((part, n) => part.write(piece(n))))
    expect(await openParts(directory.path)).toBeLessThanOrEqual(3)
    await writing
    expect([1, 2, 3]).toContain(await openParts(directory.path))
  }
  for (const [n, { file }] of parts.entries()) {
    await using reader = spool.reader(ids[n % 2]!)
    const found = Buffer.alloc(100_001)
    expect(await reader.read(file, 0, found)).toBe(100_000)
    expect(found.subarray(0, -1).equals(bodies[n]!)).toBe(true)
  }
  await Promise.all(parts.map((part, n) => (n % 3 === 0 ? part.discard() : part.close())))
  expect(await openParts(directory.path)).toBe(0)
  await Promise.all(writers.map((writer) => writer[Symbol.asyncDispose]()))
  expect((await spool.room()).usedBytes).toBe(13 * 100_000)
})

it('gets back the places of parts that could not be opened', async () => {
  await using directory = await tempDirectory()
  await using spool = await createDiskSpool({ directory: directory.path, maxOpenParts: 1 })
  await using writer = await spool.writer(newArchiveId(), NOTHING)
  for (let n = 0; n < 3; n++) await expect(writer.reopenPart('part-77', 0)).rejects.toThrow('ENOENT')
  const part = await writer.createPart()
  await part.write([Buffer.from('still')])
  await part.discard()
})

it('waits if no descriptor is left, for logs, parts and reading, until it is disposed', async () => {
  await using directory = await tempDirectory()
  const script = `
    import { open } from 'node:fs/promises'
    import { setTimeout as sleep } from 'node:timers/promises'
    import { createDiskSpool } from './server/adapters/disk/spool.ts'
    const NOTHING = new Map()
    const spool = await createDiskSpool({ directory: process.env.DIRECTORY })
    const writer = await spool.writer('${newArchiveId()}', NOTHING)
    const kept = await writer.createPart()
    await kept.write([Buffer.from('kept')])
    const id = '${newArchiveId()}'
    const hogs = []
    const hogAll = async () => { try { for (;;) hogs.push(await open('/dev/null')) } catch (error) { return error.code } }
    // Two descriptors are needed, because the folder of an archive is measured while its log is open.
    const free = () => Promise.all([hogs.pop().close(), hogs.pop().close()])
    const settledBy = async (promise) => {
      const states = []
      promise.then(() => states.push('done'), (error) => states.push(error.name))
      await sleep(120)
      states.push('freed')
      await free()
      await promise.catch(() => {})
      await hogAll()
      return states.join()
    }
    const told = [await hogAll()]
    const opened = spool.writer(id, NOTHING)
    // Listing the folder comes first, which also takes a descriptor.
    told.push(await settledBy(opened))
    const log = await opened
    const created = log.createPart()
    told.push(await settledBy(created))
    await (await created).write([Buffer.from('part')])
    const reader = spool.reader(id)
    told.push(await settledBy(reader.read('part-0', 0, Buffer.alloc(4))))
    // A wait ends when its owner is disposed.
    const vain = log.createPart().then(() => 'done', (error) => error.name)
    await sleep(60)
    await log[Symbol.asyncDispose]()
    told.push(await vain)
    console.log(JSON.stringify(told))
    process.exit()
  `
  const node = [process.execPath, '--input-type=module-typescript', '--eval', script]
  const env = { ...process.env, DIRECTORY: directory.path }
  const { stdout } = await promisify(execFile)('prlimit', ['--nofile=64', ...node], { cwd: root, env, timeout: 20_000 })
  expect(JSON.parse(stdout)).toEqual(['EMFILE', 'freed,done', 'freed,done', 'freed,done', 'AbortError'])
})

it('gives up waiting for a descriptor in the end, and does not wait for other errors', async () => {
  let attempts = 0
  const failing = (code: string) => () => {
    attempts++
    return Promise.reject(Object.assign(new Error(code), { code }))
  }
  await expect(whenDescriptorsAllow(failing('ENFILE'), { patienceMs: 120 })).rejects.toThrow('ENFILE')
  expect(attempts).toBeGreaterThan(1)
  attempts = 0
  await expect(whenDescriptorsAllow(failing('ENOENT'))).rejects.toThrow('ENOENT')
  expect(attempts).toBe(1)
})
