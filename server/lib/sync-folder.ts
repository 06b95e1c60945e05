// Makes the names in a folder outlive a power failure. A synced file is lost if its name is.
import { closeSync, fsyncSync, openSync } from 'node:fs'

/** Errors of file systems that cannot sync folders. */
const MEANINGLESS = new Set(['EINVAL', 'ENOTSUP', 'ENOSYS'])

/** Syncs the names in this folder. A new folder's own name is in its parent. Blocks the loop: only for starts. */
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
