// Restarts a server under load every few seconds, as a deployment does. Every stop must be clean, and clients only have to wait.
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { runStress } from '../../client-node/cli/stress.ts'
import { percentile } from '../../client-node/cli/stress-plan.ts'
import { startOrigin } from '../support/origin.ts'
import { createCatalogue } from './catalogue.ts'
import { baselineOf, checkBaseline, isAlive, lastLines, openServer, stopInTime } from './house.ts'
import { between, type Proof, promised, tellAll } from './scope.ts'

const MAX_RUNS = 1000

export const restarts: Proof = {
  summary: 'SIGTERM every few seconds for --seconds while "sheaf stress" runs, and a start each time',
  async prove(scope) {
    const { settings, random, directory, tell } = scope
    const dataDir = join(directory, 'data')
    await using stack = new AsyncDisposableStack()
    const origin = stack.use(await startOrigin())
    const { sound, slow, failing } = createCatalogue(origin, random, 4 * 2 ** 20)
    const list = join(directory, 'list.txt')
    const listed = [...sound, ...slow, ...failing].map(({ url }) => url).filter((url) => URL.canParse(url))
    await writeFile(list, listed.join('\n'))
    const env = { SHEAF_MAX_ATTEMPTS: '2', SHEAF_ABANDON_MS: '15000' }
    const server = stack.use(await openServer(env, dataDir))
    stack.defer(() => rm(dataDir, { recursive: true, force: true }))
    const before = await baselineOf(server)

    const ending = new AbortController()
    const endAt = performance.now() + settings.seconds * 1000
    const rows: string[] = []
    const load = async () => {
      for (let run = 0; run < MAX_RUNS && performance.now() < endAt; run++) {
        const stdout = new PassThrough()
        const told = text(stdout)
        const command = {
          command: 'stress' as const,
          server: server.url,
          input: list,
          clients: settings.clients * 2,
          rounds: 3,
          urls: 8,
          double: true,
          leave: 0.15,
          seed: between(random, 1, 2 ** 31),
        }
        const terminal = {
          stdin: process.stdin,
          stdout,
          stderr: process.stderr,
          term: undefined,
          signal: ending.signal,
        }
        const code = await runStress(command, terminal as never).finally(() => stdout.end())
        const lines = (await told).trimEnd().split('\n')
        if (rows.length === 0) rows.push(lines.find((line) => line.includes('requests')) ?? '')
        rows.push(lines.findLast((line) => /^\s+all /.test(line)) ?? '')
        promised(code === 0, () => `the load ended with ${code}:\n${lines.join('\n')}`)
      }
    }
    const loading = load()
    let loaded = false
    loading.then(
      () => (loaded = true),
      () => (loaded = true),
    )
    const durations: number[] = []
    try {
      while (!loaded) {
        await sleep(between(random, 1500, 4500))
        if (loaded) break
        promised(isAlive(server), 'the server ended by itself')
        durations.push(await stopInTime(server))
        await sleep(between(random, 0, 300))
        await server.restart()
      }
      await loading
    } catch (error) {
      ending.abort(error)
      await loading.catch(() => {})
      tell(lastLines(server))
      throw error
    }
    for (const row of rows) tell(`  ${row}`)
    const [p50, max] = [percentile(durations, 0.5) ?? 0, Math.max(0, ...durations)]
    tellAll(scope, {
      restarts: `${durations.length}, each ended with 0`,
      'from SIGTERM to the end': `p50 ${Math.round(p50)} ms, longest ${Math.round(max)} ms, promised 10 000 ms`,
    })
    await checkBaseline(scope, server, before)
    await stopInTime(server)
  },
}
