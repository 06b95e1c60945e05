// The room of the spool in local files: its own limit, and the reserve that it leaves on a real small disk.
import { expect, it } from 'vitest'
import { createDiskSpool } from '../../../../server/adapters/disk/spool.ts'
import { spoolRoomSuite } from '../../../conformance/spool-room.ts'
import { newArchiveId } from '../../../support/archives.ts'
import { onSmallDisk } from '../../../support/small-disk.ts'
import { tempDirectory } from '../../../support/temp.ts'

spoolRoomSuite('disk', async () => {
  const directory = await tempDirectory()
  const options = { directory: directory.path, maxBytes: 1_000_000 }
  let spool = await createDiskSpool(options)
  return {
    get spool() {
      return spool
    },
    async reopen() {
      await spool[Symbol.asyncDispose]()
      spool = await createDiskSpool(options)
    },
    async [Symbol.asyncDispose]() {
      await spool[Symbol.asyncDispose]()
      await directory[Symbol.asyncDispose]()
    },
  }
})

const PRELUDE = `
  import { statfs, writeFile, rm } from 'node:fs/promises'
  import { createDiskSpool } from './server/adapters/disk/spool.ts'
  const KiB = 1024
  const free = async () => { const { bavail, bsize } = await statfs(process.env.TMPDIR); return bavail * bsize }
  const spool = await createDiskSpool({ directory: process.env.TMPDIR + '/spool', reserveBytes: 400 * KiB })
  const writer = await spool.writer('${newArchiveId()}', new Map())
  const failed = (promise) => promise.then(() => 'done', (error) => error.name)
`

it('never uses the reserve of the disk, however it is written', async () => {
  const told = await onSmallDisk(`${PRELUDE}
    const part = await writer.createPart()
    const took = []
    for (let n = 0; n < 20; n++) {
      took.push(await failed(writer.appendLog([Buffer.alloc(40 * KiB)])))
      took.push(await failed(part.write([Buffer.alloc(40 * KiB)])))
    }
    tell([took.filter((each) => each === 'done').length, await free() >= 400 * KiB])
    // Smaller writes still fit, until none does.
    while (await failed(writer.appendLog([Buffer.alloc(4 * KiB)])) === 'done');
    tell(await free())
    tell((await spool.room()).freeBytes < 4 * KiB)
  `)
  expect(told).toEqual([[15, true], 400 * 1024, true])
})

it('soon notices what others write and remove on the same disk', async () => {
  const told = await onSmallDisk(`${PRELUDE}
    import { until } from './test/support/wait.ts'
    await writer.appendLog([Buffer.alloc(4 * KiB)])
    await writeFile(process.env.TMPDIR + '/hog', Buffer.alloc(600 * KiB))
    await until(async () => (await spool.room()).freeBytes < 40 * KiB, { what: 'the hog to be seen' })
    tell(await failed(writer.appendLog([Buffer.alloc(40 * KiB)])))
    await rm(process.env.TMPDIR + '/hog')
    tell(await failed(writer.appendLog([Buffer.alloc(40 * KiB)])))
    await until(async () => (await spool.room()).freeBytes > 500 * KiB, { what: 'its end to be seen' })
  `)
  expect(told).toEqual(['NoSpaceError', 'done'])
})
