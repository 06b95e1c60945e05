// Measures how long the server takes to start, and to accept a large manifest. No archive is made to its end here.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { connect, newArchiveKey } from '#contracts/client.ts'
import { type LoopDelay, watchLoop } from './loop.ts'
import type { Trial } from './peers/peer.ts'
import { startSheaf } from './peers/sheaf.ts'
import type { Environment } from './programs.ts'
import { median } from './table.ts'

const STARTS = 10
const SUBMITS = 5

export interface StartFigures {
  readonly readyMs: { readonly median: number; readonly min: number; readonly max: number }
  readonly starts: number
  readonly entries: number
  readonly submits: number
  /** Time from the call to its answer. */
  readonly submitMs: number
  /** The longest time that the event loop was blocked during the call. */
  readonly longestBlockMs: number
}

export async function measureStart(open: () => Promise<Trial>, env: Environment): Promise<StartFigures> {
  const ready: number[] = []
  for (let count = 0; count < STARTS; count++) {
    const trial = await open()
    const startedAt = performance.now()
    const server = await startSheaf(trial, env)
    ready.push(performance.now() - startedAt)
    await server.stop()
  }
  const submits: { submitMs: number; delay: LoopDelay }[] = []
  let entries = 0
  for (let count = 0; count < SUBMITS; count++) {
    const trial = await open()
    entries = trial.source.urls.length
    const { delay, result } = await watchLoop(trial, env, async (server) => {
      const connection = connect({ url: server.url, giveUpAfterMs: 5_000 })
      const manifest = { archiveKey: newArchiveKey(), entries: [...trial.source.urls] }
      const startedAt = performance.now()
      await connection.trpc.submitArchive.mutate(manifest)
      const submitMs = performance.now() - startedAt
      await connection.close()
      return submitMs
    })
    submits.push({ submitMs: result, delay })
    await rm(join(trial.directory, 'data'), { recursive: true, force: true, maxRetries: 5 })
  }
  return {
    readyMs: { median: median(ready), min: Math.min(...ready), max: Math.max(...ready) },
    starts: STARTS,
    entries,
    submits: SUBMITS,
    submitMs: median(submits.map(({ submitMs }) => submitMs)),
    longestBlockMs: median(submits.map(({ delay }) => delay.max)),
  }
}
