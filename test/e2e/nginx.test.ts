// The deployed nginx.conf, run by the real nginx in front of a real server. The contract must hold there, too.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { contractSuite } from '../contract/suite.ts'
import { ask } from '../support/ask.ts'
import { type Origin, startOrigin } from '../support/origin.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { tempDirectory } from '../support/temp.ts'
import { until } from '../support/wait.ts'

const NGINX = process.env.NGINX_PATH ?? '/usr/sbin/nginx'
const conf = new URL('../../server/deploy/nginx.conf', import.meta.url)

/** Throws if a text that should be replaced does not occur. */
function substitute(text: string, replacements: [string | RegExp, string][]): string {
  return replacements.reduce((before, [from, to]) => {
    const after = before.replaceAll(from, to)
    if (after === before) throw new Error(`${conf.pathname} does not contain ${from}`)
    return after
  }, text)
}

async function freePort(): Promise<number> {
  await using server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as { port: number }).port
}

interface Nginx extends AsyncDisposable {
  readonly url: string
  accessLog(): Promise<string>
}

async function startNginx(upstream: string, prefixed: boolean): Promise<Nginx> {
  await using stack = new AsyncDisposableStack()
  const { path: directory } = stack.use(await tempDirectory())
  const port = await freePort()
  let text = substitute(await readFile(conf, 'utf8'), [
    ['/run/nginx-sheaf.pid', join(directory, 'nginx.pid')],
    ['/var/log/nginx/', `${directory}/`],
    ['127.0.0.1:8011', upstream],
    ['listen 80;', `listen 127.0.0.1:${port};`],
    ['worker_processes auto;', 'worker_processes 1; daemon off;'],
    // nginx keeps request bodies here. The default directory belongs to the system's nginx.
    [/^http \{$/gm, `http { client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy;`],
  ])
  if (prefixed)
    text = substitute(text, [
      [/\n {4}# The page, health.*?(?=\n {4}# Under a path prefix)/gs, ''],
      ['#|', ''],
    ])
  const file = join(directory, 'nginx.conf')
  await writeFile(file, text)
  const child = stack.adopt(await launch(file, directory), async (running) => {
    if (running.exitCode !== null) return
    const exited = once(running, 'exit')
    running.kill('SIGTERM')
    await exited
  })
  const url = `http://127.0.0.1:${port}`
  await until(() => child.exitCode !== null || ask(url).then(Boolean, () => false), { what: 'nginx to listen' })
  if (child.exitCode !== null) throw new Error(`nginx ended with ${child.exitCode}`)
  const owned = stack.move()
  return {
    url: prefixed ? `${url}/sheaf` : url,
    accessLog: () => readFile(join(directory, 'sheaf-access.log'), 'utf8'),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function launch(file: string, directory: string): Promise<ChildProcess> {
  const child = spawn(NGINX, ['-c', file, '-p', directory, '-e', join(directory, 'start.log')], { stdio: 'inherit' })
  try {
    await once(child, 'spawn')
  } catch (cause) {
    throw new Error(`no nginx at ${NGINX}: install it ("apt-get install nginx"), or name it in NGINX_PATH`, { cause })
  }
  return child
}

describe.each([
  ['at the root', false],
  ['under a path prefix', true],
  // Once in thousands of runs a call was not answered within 30 s. If a retry passes, the machine had stalled.
])('behind nginx %s', { retry: 1 }, (_, prefixed) => {
  let origin: Origin
  let server: TestServer
  let nginx: Nginx

  beforeAll(async () => {
    origin = await startOrigin()
    server = await startServer({ env: { SHEAF_SAMPLES_PORT: '0' } })
    nginx = await startNginx(`127.0.0.1:${server.port}`, prefixed)
  })
  afterAll(async () => {
    await nginx?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
    await origin?.[Symbol.asyncDispose]()
  })

  contractSuite(() => ({ url: nginx.url, origin }))

  it('loads the page and everything that the page asks for', async () => {
    const base = `${nginx.url}/`
    const page = await ask(base)
    expect([page.status, page.headers['content-type']]).toEqual([200, expect.stringMatching(/^text\/html/)])
    const references = [...page.body.toString().matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, reference]) => reference!)
    expect(references.some((reference) => reference.endsWith('.js'))).toBe(true)
    for (const reference of references) {
      expect([reference, (await ask(new URL(reference, base).href)).status]).toEqual([reference, 200])
    }
  })

  it('logs neither queries nor addresses of archives', async () => {
    await ask(`${nginx.url}/archives/AAAAAAAAAAAAAAAAAAAAAA/name.zip?secret`)
    const log = await until(async () => (await nginx.accessLog()).includes('/archives/...') && nginx.accessLog(), {
      what: 'its line in the log',
    })
    expect(log).not.toMatch(/AAAAAAAA|secret|archiveKey|connectionParams/)
  })
})

it('redirects the path prefix without a slash to the page', async () => {
  await using nginx = await startNginx('127.0.0.1:9', true)
  const { status, headers } = await ask(nginx.url)
  expect([status, headers.location]).toEqual([301, `${nginx.url}/`])
})
