// Runs a script in a network namespace: no way leads out, every address is this machine, and names are resolved inside.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { tempDirectory } from './temp.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Routes every address to this machine. A dial connects if somebody listens at that port, who can see the dialled address. */
const ROUTES = 'ip link set lo up && ip route add local default dev lo && ip -6 route add local default dev lo'

/** Sends all name lookups to port 53 in the namespace, so that no name service outside is reached. */
const resolution: Record<string, string> = {
  '/etc/resolv.conf': 'nameserver 127.0.0.1\n',
  '/etc/nsswitch.conf': 'hosts: files dns\n',
  '/etc/hosts': '127.0.0.1 localhost\n',
}

/**
 * Runs a module of this project. It is root in the namespace, so it may listen on any port. The last line that it prints
 * is JSON, and its value is returned.
 * @throws if namespaces are not permitted, because the test could not prove anything then
 */
export async function inOwnNetwork(script: URL, { timeoutMs }: { timeoutMs: number }): Promise<unknown> {
  await using directory = await tempDirectory()
  const mounts: string[] = []
  for (const [index, [path, text]] of Object.entries(resolution).entries()) {
    const file = join(directory.path, `${index}`)
    await writeFile(file, text)
    // If the file does not exist the C library asks 127.0.0.1 anyway.
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
  // `ip` may lie in a directory that is not on the user's search path.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
  const options = { cwd: root, env, timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024 }
  return (await promisify(execFile)('unshare', parameters, options)).stdout
}
