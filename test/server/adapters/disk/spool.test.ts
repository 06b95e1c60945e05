// The spool in local files: the contract of all spools, and what a disk adds: foreign files, and no space.
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createDiskSpool } from '../../../../server/adapters/disk/spool.ts'
import { spoolSuite } from '../../../conformance/spool.ts'
import { newArchiveId } from '../../../support/archives.ts'
import { onSmallDisk } from '../../../support/small-disk.ts'
import { tempDirectory } from '../../../support/temp.ts'

spoolSuite('disk', async () => {
  const directory = await tempDirectory()
  let spool = await createDiskSpool({ directory: directory.path })
  return {
    get spool() {
      return spool
    },
    async reopen() {
      await spool[Symbol.asyncDispose]()
      spool = await createDiskSpool({ directory: directory.path })
    },
    async [Symbol.asyncDispose]() {
      await spool[Symbol.asyncDispose]()
      await directory[Symbol.asyncDispose]()
    },
  }
})

const PRELUDE = `
  import { createDiskSpool } from './server/adapters/disk/spool.ts'
  const spool = await createDiskSpool({ directory: process.env.TMPDIR + '/spool' })
  const id = '${newArchiveId()}'
  const writer = await spool.writer(id, new Map())
  const failed = (promise) => promise.then(() => 'done', (error) => error.name)
  const KB = (count, text) => Buffer.alloc(count * 1024, text)
`

describe('a disk spool', () => {
  it('throws its own error type if the disk is full, and earlier writes stay whole', async () => {
    const script = `${PRELUDE}
      await writer.appendLog([KB(100, 'a')])
      tell(await failed(writer.appendLog([KB(600, 'b'), KB(600, 'c')])))
      tell(writer.logBytes)
      await using reader = spool.reader(id)
      const found = Buffer.alloc(100 * 1024)
      tell([await reader.read('log', 0, found), found.equals(KB(100, 'a'))])
    `
    expect(await onSmallDisk(script)).toEqual(['NoSpaceError', 102_400, [102_400, true]])
  })

  it('goes on where it was when there is space again', async () => {
    const script = `${PRELUDE}
      const part = await writer.createPart()
      tell(await failed(part.write([KB(2000, 'p')])))
      tell(await failed(writer.appendLog([KB(10, 'a')])))
      await part.discard()
      tell(await failed(writer.appendLog([KB(10, 'b'), KB(10, 'c')])))
      await using reader = spool.reader(id)
      const found = Buffer.alloc(20 * 1024 + 1)
      tell([await reader.read('log', 0, found), found.subarray(0, -1).equals(Buffer.concat([KB(10, 'b'), KB(10, 'c')]))])
    `
    expect(await onSmallDisk(script)).toEqual(['NoSpaceError', 'NoSpaceError', 'done', [20_480, true]])
  })

  it('throws the same error if the disk has no room for one more file or folder', async () => {
    const script = `${PRELUDE}
      let last = ''
      for (let n = 0; n < 100 && last === ''; n++) {
        try { await (await writer.createPart()).close() } catch (error) { last = error.name }
      }
      tell(last)
      tell(await failed(spool.writer('${newArchiveId()}', new Map())))
    `
    expect(await onSmallDisk(script)).toEqual(['NoSpaceError', 'NoSpaceError'])
  })

  it('reads a log that is being written through the open file, and opens it only afterwards', async () => {
    await using directory = await tempDirectory()
    await using spool = await createDiskSpool({ directory: directory.path })
    const id = newArchiveId()
    const target = Buffer.alloc(4)
    await using reader = spool.reader(id)
    {
      await using writer = await spool.writer(id, new Map())
      await writer.appendLog([Buffer.from('here')])
      expect([reader.readRecent!('log', 0, target), target.toString()]).toEqual([4, 'here'])
    }
    expect(reader.readRecent!('log', 0, target)).toBeNull()
    expect(await reader.read('log', 0, target)).toBe(4)
    expect(reader.readRecent!('log', 0, target)).toBe(4)
  })

  it('neither lists nor touches what is not an archive', async () => {
    await using directory = await tempDirectory()
    await writeFile(join(directory.path, 'README'), 'mine')
    await mkdir(join(directory.path, 'lost+found'))
    await using spool = await createDiskSpool({ directory: directory.path })
    expect(await spool.list()).toEqual([])
    expect((await readdir(directory.path)).sort()).toEqual(['README', 'lost+found'])
  })

  it('is not open to other users', async () => {
    await using directory = await tempDirectory()
    const path = join(directory.path, 'spool')
    await using spool = await createDiskSpool({ directory: path })
    const id = newArchiveId()
    await using writer = await spool.writer(id, new Map())
    const part = await writer.createPart()
    for (const each of ['', id, `${id}/log`, `${id}/${part.file}`]) {
      expect((await stat(join(path, each))).mode & 0o077).toBe(0)
    }
  })

  it("removes foreign files from an archive's folder", async () => {
    await using directory = await tempDirectory()
    await using spool = await createDiskSpool({ directory: directory.path })
    const id = newArchiveId()
    await mkdir(join(directory.path, id, 'folder'), { recursive: true })
    await writeFile(join(directory.path, id, 'part-7'), 'left over')
    await using writer = await spool.writer(id, new Map())
    await writer.discardRest()
    expect(await readdir(join(directory.path, id))).toEqual(['log'])
  })
})
