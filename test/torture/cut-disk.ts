// A disk whose content can be copied at any moment below its file system: that is what a machine finds after a power failure.
import { execFile } from 'node:child_process'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { mount } from '../support/mounts.ts'

const run = promisify(execFile)

export type FileSystem = 'ext4' | 'xfs'

export interface CutDisk extends AsyncDisposable {
  /** The mount point of the disk. */
  readonly path: string
  /** Copies the disk as it is at this moment, and mounts the copy. What was only in memory is missing there. */
  cut(): Promise<CutCopy>
}

export interface CutCopy extends AsyncDisposable {
  readonly path: string
}

const DISK_BYTES = '2G'
/** Copies share equal blocks, so this is room for several copies that become different. */
const STORE_BYTES = '8G'

/**
 * The disk is a file on a file system that can clone files (XFS). A clone takes milliseconds, and has the content at one
 * moment between two writes. The disk has no cache of its own: it holds what its file system has written, in that order.
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
  // Copies of one XFS have the same UUID; `nouuid` lets them be mounted at once.
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
