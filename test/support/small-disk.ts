// Runs a script on a disk of a few mebibytes that only it sees, so that a full disk is a real one.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { tempDirectory } from './temp.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const MOUNT = 'mount -t tmpfs -o "size=$1,nr_inodes=64" none "$TMPDIR" && shift && exec "$@"'

/** The script is a module in TypeScript with `TMPDIR` on that disk; what it gives to `tell` comes back. */
export async function onSmallDisk(script: string, { size = '1m' } = {}): Promise<unknown[]> {
  await using mountPoint = await tempDirectory()
  const source = `const tell = (value: unknown) => console.log(JSON.stringify(value))\n${script}`
  const node = [process.execPath, '--input-type=module-typescript', '--eval', source]
  const isolated = ['--user', '--map-root-user', '--mount', 'sh', '-c', MOUNT, 'sh', size, ...node]
  const env = { ...process.env, TMPDIR: mountPoint.path }
  const { stdout } = await promisify(execFile)('unshare', isolated, { cwd: root, env, timeout: 25_000 })
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}
