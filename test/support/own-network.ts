// Runs a script in a network of its own: there is no way out, every address of the world is this machine, and names are its.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { tempDirectory } from './temp.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Local routes for everything: whatever is dialled connects, if somebody listens at that port, and tells its address. */
const ROUTES = 'ip link set lo up && ip route add local default dev lo && ip -6 route add local default dev lo'

/** Names are asked of port 53 here and nowhere else: no name service of the machine outside is within reach. */
const resolution: Record<string, string> = {
  '/etc/resolv.conf': 'nameserver 127.0.0.1\n',
  '/etc/nsswitch.conf': 'hosts: files dns\n',
  '/etc/hosts': '127.0.0.1 localhost\n',
}

/**
 * The script is a module of this project; the last line it prints is JSON, and comes back. It is root there, and may listen
 * on any port.
 * @throws if namespaces are not permitted: then nothing of this can be proved
 */
export async function inOwnNetwork(script: URL, { timeoutMs }: { timeoutMs: number }): Promise<unknown> {
  await using directory = await tempDirectory()
  const mounts: string[] = []
  for (const [index, [path, text]] of Object.entries(resolution).entries()) {
    const file = join(directory.path, `${index}`)
    await writeFile(file, text)
    // Without the file the C library asks 127.0.0.1, too.
    if (existsSync(path)) mounts.push(`mount --bind ${file} ${path}`)
  }
  const setUp = [ROUTES, ...mounts].join(' && ')
  const namespaces = ['--user', '--map-root-user', '--net', '--mount']
  await unshare([...namespaces, 'sh', '-c', setUp]).catch((error: Error) => {
    throw new Error(`user and network namespaces with IPv6 are needed, and not to be had here: ${error.message}`)
  })
  const node = [process.execPath, fileURLToPath(script)]
  const stdout = await unshare([...namespaces, 'sh', '-c', `${setUp} && exec "$@"`, 'sh', ...node], timeoutMs)
  return JSON.parse(stdout.trim().split('\n').at(-1)!)
}

async function unshare(parameters: string[], timeoutMs = 10_000): Promise<string> {
  // `ip` is where a user's own search path may not lead.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
  const options = { cwd: root, env, timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024 }
  return (await promisify(execFile)('unshare', parameters, options)).stdout
}
