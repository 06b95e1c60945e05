// A short form of `npm run torture -- power`: copies the disk below its file system, and starts another server on the copy.
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { tempDirectory } from '../support/temp.ts'
import { cutPower } from '../torture/power.ts'

/** Without loop devices, or the right to mount them, no disk can be cut. `npm run torture -- power` reports that. */
function canMountDisks(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'losetup', '--find'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

describe.skipIf(!canMountDisks())('a power failure', () => {
  it.each(['ext4', 'xfs'] as const)(
    'on %s keeps everything true that clients were told',
    async (fileSystem) => {
      await using directory = await tempDirectory()
      const { cuts, accepted, complete } = await cutPower({
        directory: directory.path,
        fileSystem,
        cuts: 4,
        seconds: 30,
        clients: 3,
        seed: Math.floor(Math.random() * 2 ** 31),
      })
      expect(cuts).toBeGreaterThanOrEqual(2)
      expect(accepted).toBeGreaterThan(complete)
      expect(complete).toBeGreaterThan(0)
    },
    120_000,
  )
})
