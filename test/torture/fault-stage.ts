// Runs one server with one fault: it builds a small archive that uses every kind of file operation, and the promises are checked.
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EntryStatus } from '#contracts/api.ts'
import { newArchiveKey } from '../../client-node/index.ts'
import { call } from '../contract/callers.ts'
import { type Answer, ask } from '../support/ask.ts'
import { bodyOf, bytes, delayed, finAfter, sequence, status } from '../support/behaviours.ts'
import type { Behaviour } from '../support/exchange.ts'
import type { Origin } from '../support/origin.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { type Source, soundOf, type Wish } from './catalogue.ts'
import type { Fault, FaultMode } from './fault-preload.ts'
import { type Fulfilled, fulfil } from './fulfil.ts'
import { isAlive, lastLines, openServer, stopInTime } from './house.ts'
import { remainsOf } from './remains.ts'
import { promised, type Scope } from './scope.ts'

export interface Ran {
  /** The operation and its file, as the server logged them. Null if there was no n-th operation. */
  readonly hit: string | null
  readonly outcome: string
  /** How many folders were left until the next start removed them. */
  readonly orphans: number
}

export interface Stage {
  whileRunning(format: Wish['format'], mode: FaultMode, n: number): Promise<Ran>
  whileStarting(mode: FaultMode, n: number): Promise<Ran>
}

const env = { SHEAF_MAX_ATTEMPTS: '1' }
/** Longer than a whole body may wait in memory for its turn, so that waiting bodies are spilled. */
const SLOW_MS = 900
const KiB = 1024
const ORPHAN = 'orphan-orphan-orphan-1'

export async function createStage(scope: Scope, origin: Origin): Promise<Stage> {
  const sources = createSources(origin)
  const prepared = await prepare(scope, origin, sources)

  const wishOf = (format: Wish['format']): Wish => ({
    archiveKey: newArchiveKey(),
    sources,
    format,
    double: false,
    cancelAt: null,
  })

  return {
    async whileRunning(format, mode, n) {
      await using scene = await openScene(scope, `${mode}-${n}`)
      const { dataDir, path } = scene
      const server = await openServer({ ...env, ...faultEnv({ mode, n, from: 'ready', directory: dataDir }) }, dataDir)
      scene.use(server)
      const first = fulfil(wishOf(format), { url: server.url, path })
      await restartWhenKilled(server, first)
      const fulfilled = await judged(server, first, mode)
      const complete = fulfilled.outcome === 'complete' ? [fulfilled.archiveId] : []
      const hit = hitOf(server.log)
      if (hit !== null) {
        const fresh = await whileAlive(
          server,
          fulfil({ ...wishOf(format), sources: sources.slice(1) }, { url: server.url, path }),
        )
        promised(
          fresh.outcome === 'complete',
          () => `the next archive was aborted: ${fresh.outcome}\n${lastLines(server)}`,
        )
        complete.push(fresh.archiveId)
      }
      // A server that builds nothing holds no file of the spool open.
      const open = async () =>
        (await server.descriptors()).filter((target) => target.startsWith(join(dataDir, 'spool')))
      if (isErrorMode(mode)) {
        const left = await until(async () => (await open()).length === 0, { what: 'files' }).then(() => [], open)
        promised(left.length === 0, () => `files stay open after ${hit}: ${left.join(', ')}\n${lastLines(server)}`)
      }
      return { hit, outcome: fulfilled.outcome, orphans: await leaveNothing(scene, server, mode, new Set(complete)) }
    },

    async whileStarting(mode, n) {
      await using scene = await openScene(scope, `start-${mode}-${n}`)
      const { dataDir, path } = scene
      await cp(prepared.dataDir, dataDir, { recursive: true })
      const { server, refusal } = await startUnder({ mode, n, from: 'start', directory: dataDir }, dataDir)
      scene.use(server)
      const continued = fulfil(prepared.wish, { url: server.url, path })
      await restartWhenKilled(server, continued)
      const fulfilled = await judged(server, continued, mode)
      const again = await askTwice(server, server.url + prepared.complete.href)
      promised(again.whole && again.body.equals(prepared.body), 'an archive that was complete before has other bytes')
      const complete = new Set([prepared.archiveId])
      if (fulfilled.outcome === 'complete') complete.add(fulfilled.archiveId)
      const hit = hitOf(refusal ?? server.log)
      const outcome = refusal === null || !isErrorMode(mode) ? fulfilled.outcome : 'start refused, then complete'
      return { hit, outcome, orphans: await leaveNothing(scene, server, mode, complete) }
    },
  }
}

/** A late first entry that the others wait for, small entries, one that is stored in a part, a 404, and one that is cut. */
function createSources(origin: Origin): Source[] {
  const late = bodyOf(1000, 'late')
  const small = [10, KiB, 30 * KiB].map((size) => `${origin.url}/bytes/${size}/small.bin`)
  // Just too large to wait in memory, so it is stored in a part.
  const part = 2.25 * KiB * KiB
  const cut = finAfter(2_200_000, { body: bodyOf(part, 'cut'), headers: { 'accept-ranges': 'none' } })
  return [
    soundOf(origin.serve('/late', delayed(SLOW_MS, bytes(late))), late),
    ...small.map((url, index) => soundOf(url, bodyOf([10, KiB, 30 * KiB][index]!, 'small'))),
    soundOf(`${origin.url}/bytes/${part}/part.bin`, bodyOf(part, 'part')),
    { url: origin.serve('/missing', status(404)), code: 'HTTP_STATUS' },
    { url: origin.serve('/cut', cut), code: 'BODY_TRUNCATED' },
    soundOf(`${origin.url}/bytes/500/last.bin`, bodyOf(500, 'last')),
  ]
}

interface Prepared {
  readonly dataDir: string
  /** The archive that was half built when the server was killed. */
  readonly wish: Wish
  readonly archiveId: string
  readonly complete: { readonly href: string }
  readonly body: Buffer
}

/** Makes a data directory as a kill leaves it: with a complete archive, a half-built one, and an orphaned folder. */
async function prepare(scope: Scope, origin: Origin, sources: readonly Source[]): Promise<Prepared> {
  const dataDir = join(scope.directory, 'prepared')
  await using server = await openServer(env, dataDir)
  const path = join(scope.directory, 'prepared-client')
  const first: Wish = { archiveKey: newArchiveKey(), sources, format: 'zip', double: false, cancelAt: null }
  const { complete, archiveId } = await fulfil(first, { url: server.url, path })
  promised(complete !== null, 'the first archive of all was aborted')
  const { body } = await ask(server.url + complete.href)

  const held = bodyOf(2000, 'held')
  const never: Behaviour = (exchange) => exchange.gone()
  const heldSource = soundOf(origin.serve('/held', sequence(never, bytes(held))), held)
  const [, ...others] = sources
  const wish: Wish = { ...first, archiveKey: newArchiveKey(), sources: [...others, heldSource, ...others] }
  await using caller = call('http', server.url)
  const { archiveKey } = wish
  await caller.trpc.submitArchive.mutate({ archiveKey, entries: wish.sources.map(({ url }) => url) })
  const settled = async () => {
    const { entries } = await caller.trpc.listEntries.query({ archiveKey })
    // A staged entry shows its size only when the journal has it.
    const isSettled = ({ state, sizeBytes }: EntryStatus) =>
      state === 'failed' || (sizeBytes !== null && state !== 'fetching')
    return entries.filter((entry) => !isSettled(entry)).length === 1
  }
  await until(settled, { what: 'all entries but the one that is held' })
  await server.kill()
  const orphan = join(dataDir, 'spool', ORPHAN)
  await mkdir(orphan)
  await writeFile(join(orphan, 'log'), 'left over')
  return { dataDir, wish, archiveId, complete, body }
}

interface Scene extends AsyncDisposable {
  readonly dataDir: string
  readonly path: string
  use(server: TestServer): void
}

async function openScene({ directory }: Scope, name: string): Promise<Scene> {
  const home = join(directory, name)
  await mkdir(home)
  const stack = new AsyncDisposableStack()
  stack.defer(() => rm(home, { recursive: true, force: true }))
  return {
    dataDir: join(home, 'data'),
    path: join(home, 'client'),
    use: (server) => void stack.use(server),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

const isErrorMode = (mode: FaultMode) => mode === 'EIO' || mode === 'ENOSPC'
const faultEnv = (fault: Fault) => ({ TORTURE_FAULT: JSON.stringify(fault) })
const noFault = { TORTURE_FAULT: '' }
const hitOf = (log: string) => /^fault-hit (.+)$/m.exec(log)?.[1] ?? null

/** Starts a server with a fault. It may refuse to start if it says why in one line; then it must start without the fault. */
async function startUnder(fault: Fault, dataDir: string): Promise<{ server: TestServer; refusal: string | null }> {
  try {
    return { server: await openServer({ ...env, ...faultEnv(fault) }, dataDir), refusal: null }
  } catch (error) {
    const refusal = (error as Error).message
    promised(hitOf(refusal) !== null, `the server did not start, and no fault was hit: ${refusal}`)
    const said = refusal.split('\n').filter((line) => line.includes(': injected'))
    promised(!isErrorMode(fault.mode) || said.length === 1, `a start ended and said not in a line why: ${refusal}`)
    return { server: await openServer({ ...env, ...noFault }, dataDir), refusal }
  }
}

/** Waits until the client is done. If the fault kills the server meanwhile, restarts it once. */
async function restartWhenKilled(server: TestServer, client: Promise<unknown>): Promise<void> {
  let over = false
  const end = () => {
    over = true
  }
  client.then(end, end)
  await until(() => over || !isAlive(server), { timeoutMs: 60_000, what: 'an archive or the end of the server' })
  if (isAlive(server)) return
  promised(hitOf(server.log) !== null, () => `the server ended by itself:\n${lastLines(server)}`)
  await server.restart(noFault)
}

/** A fault may hit only now and break off the first answer, which is allowed. The second answer must be whole. */
async function askTwice(server: TestServer, url: string): Promise<Answer> {
  const asking = ask(url).catch(() => null)
  await restartWhenKilled(server, asking)
  const first = await asking
  if (first?.whole) return first
  // If the server was killed after the answer broke off, that shows only a moment later.
  await restartWhenKilled(server, sleep(200))
  return ask(url)
}

/** Awaits the client. Throws if the server ends meanwhile. */
async function whileAlive<T>(server: TestServer, client: Promise<T>): Promise<T> {
  let over = false
  const end = () => {
    over = true
  }
  client.then(end, end)
  await until(() => over || !isAlive(server), { timeoutMs: 60_000, what: 'an archive' })
  promised(isAlive(server), () => `the server ended by itself:\n${lastLines(server)}`)
  return client
}

/** Checks that the archive was complete, or was aborted because of an injected error. */
async function judged(server: TestServer, client: Promise<Fulfilled>, mode: FaultMode): Promise<Fulfilled> {
  let fulfilled: Fulfilled
  try {
    fulfilled = await client
  } catch (error) {
    ;(error as Error).message += `\n${lastLines(server)}`
    throw error
  }
  promised(isAlive(server), () => `the server ended by itself:\n${lastLines(server)}`)
  const { outcome } = fulfilled
  const mayAbort = isErrorMode(mode) && ['INTERNAL', 'NO_SPACE'].includes(outcome) && hitOf(server.log) !== null
  promised(outcome === 'complete' || mayAbort, () => `the archive was aborted: ${outcome}\n${lastLines(server)}`)
  promised(isErrorMode(mode) || !server.log.includes('sealed bytes were lost'), 'sealed bytes were lost by a mere kill')
  return fulfilled
}

/** Stops the server and looks at its disk. Orphaned folders must be gone after one more start. Returns how many there were. */
async function leaveNothing(
  scene: Scene,
  server: TestServer,
  mode: FaultMode,
  complete: ReadonlySet<string>,
): Promise<number> {
  try {
    await stopInTime(server)
  } catch (error) {
    // The fault may hit only while the server stops. If it was killed there, it starts and stops once more.
    if (isErrorMode(mode) || hitOf(server.log) === null) throw error
    await server.restart(noFault)
    await stopInTime(server)
  }
  const { orphans } = await remainsOf(scene.dataDir, complete)
  if (orphans.length === 0) return 0
  await server.restart(noFault)
  await stopInTime(server)
  const rest = await remainsOf(scene.dataDir, complete)
  promised(rest.orphans.length === 0, `left in the spool after another start: ${rest.orphans.join(', ')}`)
  return orphans.length
}
