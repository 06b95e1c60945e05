// Runs the real server as a child process with its own data directory: starts, stops, kills and restarts it.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readlink } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import pkg from '../../package.json' with { type: 'json' }
import { tempDirectory } from './temp.ts'

export interface TestServer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly pid: number
  readonly dataDir: string
  /** Everything it has logged so far. */
  readonly log: string
  /** Sends SIGTERM, and resolves to the exit code. */
  stop(): Promise<number | null>
  /** Sends SIGKILL, and waits for the end. */
  kill(): Promise<void>
  /** Starts it again on the same data directory and port. */
  restart(env?: Record<string, string>): Promise<void>
  /** What each open descriptor of the process points to. */
  descriptors(): Promise<string[]>
}

export interface TestServerOptions {
  env?: Record<string, string>
  dataDir?: string
  /** How many descriptors the kernel lets the process have. @default as many as this process */
  maxDescriptors?: number
}

const root = fileURLToPath(new URL('../..', import.meta.url))

export async function startServer({ env = {}, dataDir, maxDescriptors }: TestServerOptions = {}): Promise<TestServer> {
  const temporary = dataDir === undefined ? await tempDirectory() : null
  const directory = dataDir ?? temporary!.path
  let settings: Record<string, string> = {
    SHEAF_PORT: '0',
    SHEAF_SAMPLES_PORT: '-1',
    SHEAF_DATA_DIR: directory,
    SHEAF_ALLOW_ADDRESSES: '127.0.0.0/8',
    ...env,
  }
  let log = ''
  const start = () =>
    launch(settings, maxDescriptors, (text) => {
      log += text
    })
  let running = await start()

  async function end(signal: NodeJS.Signals): Promise<number | null> {
    const { child } = running
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
    return child.exitCode
  }

  return {
    get url() {
      return running.url
    },
    get port() {
      return Number(new URL(running.url).port)
    },
    get pid() {
      return running.child.pid!
    },
    dataDir: directory,
    get log() {
      return log
    },
    stop: () => end('SIGTERM'),
    async kill() {
      await end('SIGKILL')
    },
    async restart(more = {}) {
      settings = { ...settings, SHEAF_PORT: new URL(running.url).port, ...more }
      running = await start()
    },
    async descriptors() {
      const folder = `/proc/${running.child.pid}/fd`
      const links = await Promise.all((await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch(() => '')))
      return links.filter((link) => link !== '')
    },
    async [Symbol.asyncDispose]() {
      await end('SIGTERM')
      await temporary?.[Symbol.asyncDispose]()
    },
  }
}

/** Resolves once the server prints its URL. @throws with its output if it ends before that */
async function launch(
  env: Record<string, string>,
  maxDescriptors: number | undefined,
  onLog: (text: string) => void,
): Promise<{ child: ChildProcess; url: string }> {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SHEAF_')))
  // The script is "exec node ...". The first two words are dropped: this process starts its own Node, without a shell.
  const [, , ...asShipped] = pkg.scripts.start.split(' ')
  const node = [process.execPath, ...asShipped]
  const limited = maxDescriptors === undefined ? node : ['prlimit', `--nofile=${maxDescriptors}`, ...node]
  const child = spawn(limited[0]!, limited.slice(1), {
    cwd: root,
    env: { ...inherited, ...env } as NodeJS.ProcessEnv,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let errors = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    errors += text
    onLog(text)
  })
  for await (const line of createInterface({ input: child.stdout! })) {
    const url = / ready on (http:\S+)$/.exec(line)?.[1]
    if (url === undefined) continue
    child.stdout!.resume()
    return { child, url }
  }
  throw new Error(`the server did not start:\n${errors}`)
}
