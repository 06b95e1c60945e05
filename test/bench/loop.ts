// Measures how long the server's event loop is blocked. The server measures itself, so these runs give no other figure.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Vitals, vitalsOf } from '../torture/house.ts'
import type { Trial } from './peers/peer.ts'
import { makeArchive, startSheaf, warmUp } from './peers/sheaf.ts'
import type { Environment } from './programs.ts'

const preload = new URL('../torture/vitals-preload.ts', import.meta.url).href
/** How long after a reading the server resets its histogram. */
const REST_MS = 200

export type LoopDelay = Vitals['loopDelayMs']

/** Starts and warms a server, and measures its loop while `act` runs. */
export async function watchLoop<T>(
  trial: Trial,
  env: Environment,
  act: (server: Awaited<ReturnType<typeof startSheaf>>) => Promise<T>,
): Promise<{ delay: LoopDelay; result: T }> {
  const options = [env.NODE_OPTIONS, `--import=${preload}`].filter((option) => option !== undefined)
  await using server = await startSheaf(trial, { ...env, NODE_OPTIONS: options.join(' ') })
  await warmUp(server, trial)
  await vitalsOf(server)
  await sleep(REST_MS)
  const result = await act(server)
  const { loopDelayMs } = await vitalsOf(server)
  return { delay: loopDelayMs, result }
}

/** Measures the loop during the whole workload. */
export async function loopDelayOf(trial: Trial, env: Environment): Promise<LoopDelay> {
  const { delay } = await watchLoop(trial, env, (server) => {
    const startedAt = performance.now()
    const all = Array.from({ length: trial.workload.archives }, () => makeArchive(server, trial.source.urls, startedAt))
    return Promise.all(all)
  })
  return delay
}
