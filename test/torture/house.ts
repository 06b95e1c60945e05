// Runs a server under test, and compares what it holds before and after: descriptors, sockets, timers, memory.
import { createServer } from 'node:net'
import { startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { BrokenPromise, mebibytes, promised, type Scope, tellAll } from './scope.ts'

export interface Vitals {
  readonly rssBytes: number
  /** The heap after a garbage collection. */
  readonly heapUsedBytes: number
  /** How many active resources of each kind the process has. */
  readonly resources: Readonly<Record<string, number>>
  /** The delay of the event loop since the vitals were last read. */
  readonly loopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number }
}

export interface Baseline {
  readonly descriptors: readonly string[]
  readonly vitals: Vitals
}

/** Longer than any idle connection is kept open, and than any time-out that a client leaves behind. */
const QUIET_AFTER_MS = 30_000

const preload = (name: string) => `--import=${new URL(name, import.meta.url).href}`
const nodeOptions = [preload('./vitals-preload.ts'), preload('./fault-preload.ts')].join(' ')

export async function openServer(env: Record<string, string> = {}, dataDir?: string): Promise<TestServer> {
  const settings = { NODE_OPTIONS: nodeOptions, SHEAF_PORT: String(await quietPort()), ...env }
  const server = await startServer({ env: settings, dataDir })
  running.add(server)
  return server
}

const running = new Set<TestServer>()

/** Kills all servers at once, for when this process itself has to end. */
export function killServers(): void {
  for (const server of running) if (isAlive(server)) process.kill(server.pid, 'SIGKILL')
}

let nextPort = 20_000 + Math.floor(Math.random() * 12_000)

/**
 * Finds a free port below those that the kernel gives to outgoing connections. Otherwise, while a server is down, one of
 * the clients that try to reach it could get its port.
 */
async function quietPort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    // Every call takes another port, so that servers that start at the same time do not collide.
    nextPort = nextPort < 31_999 ? nextPort + 1 : 20_000
    const port = nextPort
    const probe = createServer()
    const free = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => resolve(true))
    })
    await new Promise((resolve) => probe.close(resolve))
    if (free) return port
  }
  throw new Error('no free port')
}

export function isAlive({ pid }: TestServer): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

export async function vitalsOf(server: TestServer): Promise<Vitals> {
  const from = server.log.length
  process.kill(server.pid, 'SIGUSR2')
  const line = await until(() => /^vitals (\{.*\})\n/m.exec(server.log.slice(from)), {
    timeoutMs: 30_000,
    what: 'the vitals of the server',
  })
  return JSON.parse(line[1]!) as Vitals
}

export async function baselineOf(server: TestServer): Promise<Baseline> {
  // While a turn of the loop is taken it has an immediate, which is not a lasting resource. So a moment without one is awaited.
  const vitals = await until(
    async () => {
      const found = await vitalsOf(server)
      return found.resources.Immediate === undefined && found
    },
    { timeoutMs: 30_000, what: 'a moment without an immediate' },
  )
  return { descriptors: await descriptorsOf(server), vitals }
}

/** Names sockets and pipes by kind only, because their numbers differ. */
async function descriptorsOf(server: TestServer): Promise<string[]> {
  const targets = await server.descriptors()
  return targets.map((target) => target.replace(server.dataDir, '').replaceAll(/\d+/g, 'n')).sort()
}

/** Checks that descriptors, sockets and timers are as before. It waits for those that close by themselves. */
export async function checkBaseline(scope: Scope, server: TestServer, before: Baseline): Promise<Vitals> {
  promised(isAlive(server), 'the server is not there any more')
  const wanted = JSON.stringify(before.descriptors)
  const descriptors = await waitToEqual(wanted, async () => JSON.stringify(await descriptorsOf(server)))
  promised(descriptors === wanted, `descriptors were ${wanted} and are ${descriptors}`)
  const { resources } = before.vitals
  let after = await vitalsOf(server)
  const found = await waitToEqual(JSON.stringify(resources), async () => {
    after = await vitalsOf(server)
    return JSON.stringify(after.resources)
  })
  promised(found === JSON.stringify(resources), `active resources were ${JSON.stringify(resources)} and are ${found}`)
  tellAll(scope, {
    'descriptors before, after': `${before.descriptors.length}, ${descriptors === wanted ? 'the same' : descriptors}`,
    'sockets and timers before, after': `${JSON.stringify(resources)}, the same`,
    'heap after gc before, after': `${mebibytes(before.vitals.heapUsedBytes)}, ${mebibytes(after.heapUsedBytes)}`,
    'rss before, after': `${mebibytes(before.vitals.rssBytes)}, ${mebibytes(after.rssBytes)}`,
  })
  return after
}

/** Looks until the result is as wanted, or the time is over. Returns the last result. */
async function waitToEqual(wanted: string, look: () => Promise<string>): Promise<string> {
  const giveUpAt = performance.now() + QUIET_AFTER_MS
  for (;;) {
    const found = await look()
    if (found === wanted || performance.now() > giveUpAt) return found
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

/** Stops the server by SIGTERM, and checks that it ends within the promised time. */
export async function stopInTime(server: TestServer): Promise<number> {
  const startedAt = performance.now()
  const code = await server.stop()
  const durationMs = performance.now() - startedAt
  running.delete(server)
  if (code !== 0) throw new BrokenPromise(`SIGTERM ended the server with ${code}:\n${lastLines(server)}`)
  promised(durationMs < 10_000, `SIGTERM took ${Math.round(durationMs)} ms`)
  return durationMs
}

export const lastLines = ({ log }: TestServer, count = 15) => log.trimEnd().split('\n').slice(-count).join('\n')
