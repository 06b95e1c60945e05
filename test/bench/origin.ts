// Starts the origins of a run: nginx if it is installed, otherwise our own program. The slow origin is always our own program.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { end, startProgram, versionOf } from './programs.ts'
import type { OriginKind } from './workloads.ts'

export interface Origins extends AsyncDisposable {
  /** Base URLs, without a slash at the end. */
  readonly urls: Readonly<Record<OriginKind, string>>
  /** The folder that all origins serve. */
  readonly root: string
  /** The CA that signed the certificate of the TLS origin. */
  readonly caPath: string
  readonly name: string
}

const SLOW_DELAY_MS = 50
const program = fileURLToPath(new URL('origin-program.ts', import.meta.url))
/** Debian installs it where an ordinary user's PATH does not lead. */
const nginxPaths = ['nginx', '/usr/sbin/nginx']

/** Writes all files below `directory`. */
export async function startOrigins(directory: string): Promise<Origins> {
  await using started = new AsyncDisposableStack()
  const root = join(directory, 'files')
  await mkdir(root, { recursive: true })
  const tls = await makeCertificates(directory)
  const port = async (...parameters: string[]) => {
    const running = started.use(await startProgram([process.execPath, program, '--root', root, ...parameters]))
    return running.port
  }
  const slow = await port('--delay-ms', String(SLOW_DELAY_MS))
  const nginx = await findNginx()
  const ports =
    nginx === null
      ? { plain: await port(), tls: await port('--key', tls.keyPath, '--cert', tls.certPath) }
      : started.use(await startNginx(nginx.path, directory, root, tls))
  const all = started.move()
  return {
    root,
    caPath: tls.caPath,
    name: nginx === null ? `Node ${process.versions.node}` : `nginx ${nginx.version}`,
    urls: {
      plain: `http://127.0.0.1:${ports.plain}`,
      slow: `http://127.0.0.1:${slow}`,
      tls: `https://127.0.0.1:${ports.tls}`,
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

async function findNginx(): Promise<{ path: string; version: string } | null> {
  for (const path of nginxPaths) {
    const version = await versionOf(path, ['-v'])
    if (version !== null) return { path, version }
  }
  return null
}

interface Certificates {
  readonly caPath: string
  readonly keyPath: string
  readonly certPath: string
}

async function makeCertificates(directory: string): Promise<Certificates> {
  const at = (name: string) => join(directory, name)
  const openssl = (...parameters: string[]) => promisify(execFile)('openssl', parameters)
  const fresh = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  await openssl(...fresh, '-subj', '/CN=an authority for one run', '-keyout', at('ca.key'), '-out', at('ca.pem'))
  const leaf = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']
  const end = ['-addext', 'basicConstraints=critical,CA:FALSE']
  const signer = ['-CA', at('ca.pem'), '-CAkey', at('ca.key')]
  await openssl(...fresh, ...leaf, ...end, ...signer, '-keyout', at('origin.key'), '-out', at('origin.pem'))
  return { caPath: at('ca.pem'), keyPath: at('origin.key'), certPath: at('origin.pem') }
}

async function startNginx(path: string, directory: string, root: string, tls: Certificates) {
  const ports = { plain: await freePort(), tls: await freePort() }
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${join(directory, `nginx-${kind}`)};`,
  )
  // If it runs as root its workers would run as another user, who may not read a private folder.
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  const config = `
daemon off; worker_processes 1; ${user} pid ${join(directory, 'nginx.pid')}; error_log stderr warn;
worker_rlimit_nofile 20000; events { worker_connections 9000; }
http {
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 10000000; keepalive_timeout 300s;
  default_type application/octet-stream; root ${root};
  ${temporary.join(' ')}
  server { listen 127.0.0.1:${ports.plain} backlog=4096; }
  server {
    listen 127.0.0.1:${ports.tls} ssl backlog=4096; ssl_session_cache shared:sessions:10m;
    ssl_certificate ${tls.certPath}; ssl_certificate_key ${tls.keyPath};
  }
}
`
  const configPath = join(directory, 'nginx.conf')
  await writeFile(configPath, config)
  const child = spawn(path, ['-e', 'stderr', '-c', configPath], { stdio: ['ignore', 'ignore', 'inherit'] })
  await once(child, 'spawn')
  for (let tries = 0; !(await isOpen(ports.plain)); tries++) {
    if (tries > 100 || child.exitCode !== null) throw new Error('nginx did not start')
    await sleep(50)
  }
  return { ...ports, [Symbol.asyncDispose]: () => end(child) }
}

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address() as { port: number }
  await new Promise((resolve) => probe.close(resolve))
  return port
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })
}
