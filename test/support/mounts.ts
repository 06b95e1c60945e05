// Mounts of one test: made as root, and taken away again whatever happens.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * `mount` with these parameters, the last of which is where; unmounted when the result is disposed.
 * @throws if mounting is not permitted: then nothing of this can be proved
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
      // Lazily where somebody is still in there: it is gone from here in any case.
      await run('umount', [path]).catch(() => run('umount', ['--lazy', path]))
    },
  }
}
