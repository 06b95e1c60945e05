// A thousand sockets watch one archive, and a thousand are idle. Measures their cost; each watcher must get every event once.
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { WebSocket } from 'ws'
import { newArchiveKey } from '../../client-node/index.ts'
import { call } from '../contract/callers.ts'
import { bodyOf, bytes, delayed, status } from '../support/behaviours.ts'
import { startOrigin } from '../support/origin.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { baselineOf, checkBaseline, openServer, stopInTime, type Vitals, vitalsOf } from './house.ts'
import { mebibytes, type Proof, promised, type Scope, tellAll } from './scope.ts'
import { openSocket, openWatcher, type Watcher } from './watcher.ts'

/** How many sockets are opened at a time. */
const AT_ONCE = 50
/** How many fetches one origin gets at a time. */
const FETCHES = 32
/** How long each fetch takes. With FETCHES this sets the pace of the archive. */
const FETCH_MS = 1_600
/** One watcher in this many loses its connection midway and comes back. */
const LOSE_ONE_IN = 10

export const watchers: Proof = {
  summary: '--sockets websockets watch one archive for --seconds, and as many are idle',
  async prove(scope) {
    const { settings, directory, random } = scope
    const dataDir = join(directory, 'data')
    await using stack = new AsyncDisposableStack()
    const origin = stack.use(await startOrigin())
    const server = stack.use(await openServer({}, dataDir))
    stack.defer(() => rm(dataDir, { recursive: true, force: true }))
    const before = await baselineOf(server)

    const sound = origin.serve('/sound', delayed(FETCH_MS, bytes(bodyOf(20_000, 'sound'))))
    const missing = origin.serve('/missing', delayed(FETCH_MS, status(404)))
    const total = Math.ceil((settings.seconds * 1000 * FETCHES) / FETCH_MS)
    const entries = Array.from({ length: total }, (_, index) => (index > 0 && random() < 0.2 ? missing : sound))
    const failing = entries.filter((url) => url === missing).length

    const idle = await openMany<WebSocket>(settings.sockets, () => openSocket(server.url))
    stack.defer(() => closeAll(idle))
    const withIdle = await vitalsOf(server)
    const archiveKey = newArchiveKey()
    const caller = stack.use(call('http', server.url))
    await caller.trpc.submitArchive.mutate({ archiveKey, entries })
    const watching = await openMany<Watcher>(settings.sockets, () => openWatcher(server.url, archiveKey))
    stack.defer(() => closeAll(watching))
    await until(() => watching.every(({ events }) => events >= 2), { timeoutMs: 60_000, what: 'the first progress' })
    const withAll = await vitalsOf(server)

    const startedAt = performance.now()
    const eventsBefore = eventsOf(watching)
    const losing = watching.filter((_, index) => index % LOSE_ONE_IN === 0)
    const peak = peakOf(server)
    await sleep(settings.seconds * 200)
    for (const watcher of losing) await watcher.cutAndComeBack()
    await until(() => watching.every(({ ends, trouble }) => ends.length > 0 || trouble !== null), {
      timeoutMs: settings.seconds * 1000 + 120_000,
      everyMs: 100,
      what: 'the end of the archive at every watcher',
    })
    const seconds = (performance.now() - startedAt) / 1000
    const events = eventsOf(watching) - eventsBefore
    const building = await vitalsOf(server)
    await sleep(500)
    for (const { trouble, failed, ends } of watching) {
      promised(trouble === null, `a watcher was told wrongly: ${trouble}`)
      promised(failed.size === failing, `a watcher was told of ${failed.size} failures of ${failing}`)
      promised(
        ends.length === 1 && ends[0]!.type === 'complete',
        () => `a watcher saw the ends ${JSON.stringify(ends)}`,
      )
    }
    const perSocket = (vitals: Vitals, than: Vitals) =>
      `${((vitals.rssBytes - than.rssBytes) / settings.sockets / 1024).toFixed(1)} KiB`
    tellAll(scope, {
      archive: `${total} entries, ${failing} of them failing, ${seconds.toFixed(1)} s`,
      'told once each': `${failing} failures and the end to ${watching.length}, ${losing.length} of them lost and came back`,
      'rss before, idle, watching': [before.vitals, withIdle, withAll].map((it) => mebibytes(it.rssBytes)).join(', '),
      'rss at the most': mebibytes(await peak()),
      'per idle, per watching socket': `${perSocket(withIdle, before.vitals)}, ${perSocket(withAll, withIdle)}`,
      'events told': `${events}, ${Math.round(events / seconds)} a second`,
    })
    tellDelay(scope, building)
    await closeAll(idle)
    await closeAll(watching)
    await checkBaseline(scope, server, before)
    await stopInTime(server)
  },
}

function tellDelay(scope: Scope, { loopDelayMs }: Vitals): void {
  const { p50, p99, max } = loopDelayMs
  const value = `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, longest ${max.toFixed(1)} ms`
  tellAll(scope, { 'event loop delay': value })
}

async function openMany<T>(count: number, open: () => Promise<T>): Promise<T[]> {
  const opened: T[] = []
  while (opened.length < count) {
    const length = Math.min(AT_ONCE, count - opened.length)
    opened.push(...(await Promise.all(Array.from({ length }, open))))
  }
  return opened
}

async function closeAll(list: readonly { close(): void }[]): Promise<void> {
  for (const each of list) each.close()
}

const eventsOf = (watching: readonly Watcher[]) => watching.reduce((sum, { events }) => sum + events, 0)

/** Returns a function that reads the peak resident size. */
function peakOf({ pid }: TestServer): () => Promise<number> {
  return async () => {
    const kibibytes = /VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]
    return Number(kibibytes) * 1024
  }
}
