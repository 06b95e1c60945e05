// Puts many rounds of load on one process. Afterwards it must hold no more than before, and its heap must not grow any more.
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { call } from '../contract/callers.ts'
import { ask, open } from '../support/ask.ts'
import { startOrigin } from '../support/origin.ts'
import { until } from '../support/wait.ts'
import { type Catalogue, createCatalogue, drawWish } from './catalogue.ts'
import { fulfil } from './fulfil.ts'
import { baselineOf, checkBaseline, openServer, stopInTime, vitalsOf } from './house.ts'
import { between, countBy, mebibytes, type Proof, promised, type Scope, tellAll } from './scope.ts'

export const rounds: Proof = {
  summary: 'descriptors, sockets, timers, files and heap of one process over --rounds rounds of load',
  async prove(scope) {
    const { settings, random, directory } = scope
    const dataDir = join(directory, 'data')
    await using stack = new AsyncDisposableStack()
    const origin = stack.use(await startOrigin())
    const catalogue = createCatalogue(origin, random, 2 ** 20)
    const env = { SHEAF_MAX_ATTEMPTS: '2', SHEAF_ABANDON_MS: '5000', SHEAF_RETENTION_MS: '10000' }
    const server = stack.use(await openServer(env, dataDir))
    stack.defer(() => rm(dataDir, { recursive: true, force: true }))
    const before = await baselineOf(server)
    const files = (await readdir(dataDir, { recursive: true })).sort().join()

    const heaps: number[] = []
    const outcomes: string[] = []
    for (let round = 0; round < settings.rounds; round++) {
      const visits = Array.from({ length: settings.clients * 2 }, (_, index) =>
        index % 4 === 3
          ? leave(server.url, catalogue, random)
          : fulfil(drawWish(catalogue, random), { url: server.url, path: join(directory, `visit-${index}`) }).then(
              ({ outcome }) => outcome,
            ),
      )
      await Promise.allSettled(visits)
      outcomes.push(...(await Promise.all(visits)))
      heaps.push((await vitalsOf(server)).heapUsedBytes)
    }
    const wrong = outcomes.find((outcome) => !['complete', 'CANCELLED', 'left'].includes(outcome))
    promised(wrong === undefined, `an archive was aborted: ${wrong}`)
    const spooled = async () => (await readdir(dataDir, { recursive: true })).sort().join()
    await until(async () => (await spooled()) === files, { timeoutMs: 40_000, everyMs: 250, what: 'the last sweep' })
    const late = heaps.slice(Math.floor(heaps.length / 2))
    tellAll(scope, {
      archives: countBy(outcomes),
      'heap after each round': heaps.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(' '),
      'slope of the later half': `${(slopeOf(late) / 1024).toFixed(1)} KiB a round of ${settings.clients * 2} archives`,
      'files before, after': `${files}, the same`,
      'largest heap': mebibytes(Math.max(...heaps)),
    })
    await checkBaseline(scope, server, before)
    promised(origin.activeRequests === 0, `${origin.activeRequests} fetches are still under way`)
    await stopInTime(server)
  },
}

/** A client that disconnects in the middle, without saying so. */
async function leave(url: string, catalogue: Catalogue, random: Scope['random']): Promise<'left'> {
  await using caller = call(random() < 0.5 ? 'websocket' : 'http', url)
  const { archiveKey, sources } = drawWish(catalogue, random)
  const entries = sources.map((source) => source.url)
  const { href } = await caller.trpc.submitArchive.mutate({ archiveKey, entries })
  const { told, leave } = caller.watch({ archiveKey })
  const coming = random() < 0.5 ? await open(url + href) : null
  const events = between(random, 1, 4)
  await until(() => told.length >= events || told.at(-1)?.event.type === 'complete', { what: 'an event' })
  leave()
  coming?.leave()
  await ask(`${url}/healthz`)
  return 'left'
}

/** The slope of a line fitted by least squares, per step. */
export function slopeOf(values: readonly number[]): number {
  const mean = (numbers: readonly number[]) => numbers.reduce((sum, each) => sum + each, 0) / numbers.length
  const steps = values.map((_, index) => index)
  const [meanStep, meanValue] = [mean(steps), mean(values)]
  const spread = steps.reduce((sum, step) => sum + (step - meanStep) ** 2, 0)
  return steps.reduce((sum, step, index) => sum + (step - meanStep) * (values[index]! - meanValue), 0) / (spread || 1)
}
