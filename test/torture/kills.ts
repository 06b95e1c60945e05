// Kills the server at random moments. Clients must be able to go on, and nothing may be lost or come twice.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startOrigin } from '../support/origin.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { createCatalogue, drawWish } from './catalogue.ts'
import { type Fulfilled, fulfil } from './fulfil.ts'
import { baselineOf, checkBaseline, isAlive, lastLines, openServer, stopInTime } from './house.ts'
import { remainsOf } from './remains.ts'
import { BrokenPromise, between, countBy, mebibytes, type Proof, promised, type Scope, tellAll } from './scope.ts'

/** The probability of a kill soon after the start, while the server still reads what the last kill left. */
const SOON = 0.25
/** After the last kill, all archives must be done within this time. */
const FINISH_WITHIN_MS = 120_000

export const kills: Proof = {
  summary: 'SIGKILL at --kills random moments while --clients clients make archives, and a restart each time',
  async prove(scope) {
    const { settings, random, directory } = scope
    const dataDir = join(directory, 'data')
    await using stack = new AsyncDisposableStack()
    const origin = stack.use(await startOrigin())
    const catalogue = createCatalogue(origin, random)
    const server = stack.use(await openServer({ SHEAF_MAX_ATTEMPTS: '2' }, dataDir))
    stack.defer(() => rm(dataDir, { recursive: true, force: true }))
    const before = await baselineOf(server)

    const all: Fulfilled[] = []
    const ending = new AbortController()
    let underWay = 0
    let closing = false
    let heard = 0
    const client = async (index: number) => {
      for (let round = 0; !closing && !ending.signal.aborted; round++) {
        underWay++
        const path = join(directory, `client-${index}`)
        const onEvent = () => heard++
        const options = { url: server.url, path, signal: ending.signal, onEvent, thoroughly: round % 10 === 0 }
        const fulfilled = await fulfil(drawWish(catalogue, random), options)
        underWay--
        const { outcome, archiveId } = fulfilled
        promised(['complete', 'CANCELLED'].includes(outcome), () => {
          const lines = server.log.split('\n').filter((line) => line.includes(archiveId))
          return `an archive was aborted: ${outcome}\n${lines.join('\n')}`
        })
        all.push(fulfilled)
        await sleep(between(random, 0, 300))
      }
    }
    const clients = Promise.all(Array.from({ length: settings.clients }, (_, index) => client(index)))
    clients.catch((error) => ending.abort(error))
    const startedAt = performance.now()
    const hit: number[] = []
    try {
      for (let kill = 0; kill < settings.kills && !ending.signal.aborted; kill++) {
        if (random() < SOON) await sleep(between(random, 0, 150))
        else {
          const before = heard
          const isHeard = () => heard >= before + settings.clients || ending.signal.aborted
          await until(isHeard, { timeoutMs: FINISH_WITHIN_MS, what: 'clients to be told something after a restart' })
          await sleep(between(random, 0, 1500))
        }
        promised(isAlive(server), `the server ended by itself`)
        hit.push(underWay)
        await server.kill()
        await sleep(random() < 0.5 ? 0 : between(random, 0, 500))
        await server.restart()
      }
      closing = true
      await Promise.race([
        clients,
        sleep(FINISH_WITHIN_MS, undefined, { ref: false }).then(() => {
          throw new BrokenPromise(`${underWay} archives came to no end within ${FINISH_WITHIN_MS} ms`)
        }),
      ])
    } catch (error) {
      ending.abort(error)
      await clients.catch(() => {})
      scope.tell(lastLines(server))
      throw error
    }
    tellOutcome(scope, all, hit, performance.now() - startedAt)
    promised(!server.log.includes('sealed bytes were lost'), 'bytes that were sealed were lost by a mere kill')
    checkLog(server)
    await checkBaseline(scope, server, before)
    await stopInTime(server)

    const complete = new Set(all.filter(({ outcome }) => outcome === 'complete').map(({ archiveId }) => archiveId))
    const { orphans, bytes, unreadBytes } = await remainsOf(dataDir, complete)
    promised(orphans.length === 0, `left in the spool: ${orphans.join(', ')}`)
    tellAll(scope, {
      'on disk': `${complete.size} archives, ${mebibytes(bytes)}`,
      'of it unread': mebibytes(unreadBytes),
    })
  },
}

function tellOutcome(scope: Scope, all: readonly Fulfilled[], hit: readonly number[], durationMs: number): void {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
  tellAll(scope, {
    kills: `${hit.length} in ${Math.round(durationMs / 1000)} s, ${(sum(hit) / hit.length || 0).toFixed(1)} archives under way at each`,
    archives: countBy(all.map(({ outcome }) => outcome)),
    'connections lost': sum(all.map(({ lost }) => lost)),
    'failures told': `${sum(all.map(({ failures }) => failures))}, each once`,
    'bytes checked': mebibytes(sum(all.map(({ receivedBytes }) => receivedBytes))),
  })
}

/** Checks that no build failed because of a kill. */
function checkLog({ log }: TestServer): void {
  const errors = log.split('\n').filter((line) => / error /.test(line))
  promised(errors.length === 0, `the server logged: ${errors[0]}`)
}
