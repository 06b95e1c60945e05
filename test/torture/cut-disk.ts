// A disk that can be cut below its file system: what a machine finds on it that comes up after its power failed just then.
import { execFile } from 'node:child_process'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { mount } from '../support/mounts.ts'

const run = promisify(execFile)

export type FileSystem = 'ext4' | 'xfs'

export interface CutDisk extends AsyncDisposable {
  /** Where the disk is mounted. */
  readonly path: string
  /** As it is at this moment, below the file system, mounted elsewhere: what is only in the machine's memory is missing. */
  cut(): Promise<CutCopy>
}

export interface CutCopy extends AsyncDisposable {
  readonly path: string
}

const DISK_BYTES = '2G'
/** Copies share what is alike: there is room for a few that grow apart. */
const STORE_BYTES = '8G'

/**
 * The disk is a file on a file system that can clone files (XFS): a clone is the file at one moment between two writes, in
 * milliseconds. It is a disk without a cache of its own: what a file system has written is on it, in the order of the writes.
 */
export async function openCutDisk(directory: string, fileSystem: FileSystem): Promise<CutDisk> {
  await using opened = new AsyncDisposableStack()
  const [store, path] = [join(directory, 'store'), join(directory, 'disk')]
  await mkdir(store)
  await mkdir(path)
  const image = join(directory, 'store.img')
  await run('truncate', ['--size', STORE_BYTES, image])
  await run('mkfs.xfs', ['-q', '-m', 'reflink=1', image])
  opened.use(await mount('-o', 'loop', image, store))
  const disk = join(store, 'disk.img')
  await run('truncate', ['--size', DISK_BYTES, disk])
  await (fileSystem === 'ext4' ? run('mkfs.ext4', ['-q', disk]) : run('mkfs.xfs', ['-q', disk]))
  // Two copies of one XFS have the same name, and may be mounted all the same.
  const options = fileSystem === 'xfs' ? 'loop,nouuid' : 'loop'
  opened.use(await mount('-o', options, disk, path))
  let cuts = 0
  const owned = opened.move()
  return {
    path,
    async cut() {
      const name = `cut-${cuts++}`
      const [copy, place] = [join(store, `${name}.img`), join(directory, name)]
      await run('cp', ['--reflink=always', disk, copy])
      await mkdir(place)
      const mounted = await mount('-o', options, copy, place)
      return {
        path: place,
        async [Symbol.asyncDispose]() {
          await mounted[Symbol.asyncDispose]()
          await rm(copy)
        },
      }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
