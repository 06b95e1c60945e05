// Runs a script on a disk of a few mebibytes that only the script sees. So a test can really fill a disk.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { tempDirectory } from './temp.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const MOUNT = 'mount -t tmpfs -o "size=$1,nr_inodes=64" none "$TMPDIR" && shift && exec "$@"'

/** Runs a TypeScript module whose `TMPDIR` is on that disk. Returns the values that it passes to `tell`. */
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
