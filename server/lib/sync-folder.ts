// Makes names in a folder outlive a power failure: a file that is synced is not found if its name is not.
import { closeSync, fsyncSync, openSync } from 'node:fs'

/** What file systems say that have no such thing for folders. */
const MEANINGLESS = new Set(['EINVAL', 'ENOTSUP', 'ENOSYS'])

/** The names that stand in this folder; of a new folder, its own name stands in its parent. Blocks: for starts. */
export function syncFolder(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } catch (error) {
    if (!MEANINGLESS.has((error as NodeJS.ErrnoException).code ?? '')) throw error
  } finally {
    closeSync(fd)
  }
}
