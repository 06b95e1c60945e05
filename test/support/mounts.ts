// Mounts a file system for one test (which takes root), and always unmounts it afterwards.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * Calls `mount` with these parameters, the last of which is the mount point. Disposing the result unmounts it.
 * @throws if mounting is not permitted, because the test could not prove anything then
 */
export async function mount(...parameters: string[]): Promise<AsyncDisposable> {
  await run('mount', parameters).catch((error: Error) => {
    throw new Error(
      `file systems must be mounted for this, which takes root and is not to be had here: ${error.message}`,
    )
  })
  const path = parameters.at(-1)!
  return {
    async [Symbol.asyncDispose]() {
      // A lazy unmount works even if a process still uses the mount.
      await run('umount', [path]).catch(() => run('umount', ['--lazy', path]))
    },
  }
}
