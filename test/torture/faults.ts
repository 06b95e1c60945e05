// Lets the n-th file operation of a server fail, or kills the server at it, for every n.
import { startOrigin } from '../support/origin.ts'
import type { FaultMode } from './fault-preload.ts'
import { createStage, type Ran, type Stage } from './fault-stage.ts'
import { countBy, type Proof, type Scope, tellAll } from './scope.ts'

const LANES = 3
/** The number of operations differs a little between runs, because writes are joined differently. So one miss is not the end. */
const MISSES_TO_END = 2

export const faults: Proof = {
  summary:
    'a fault at the n-th file operation for each n up to --faults: EIO, ENOSPC, SIGKILL before and in the middle',
  async prove(scope) {
    await using origin = await startOrigin()
    const stage = await createStage(scope, origin)
    for (const [label, run] of [
      ['zip', (mode, n) => stage.whileRunning('zip', mode, n)],
      ['tar.gz', (mode, n) => stage.whileRunning('tar.gz', mode, n)],
      ['start', (mode, n) => stage.whileStarting(mode, n)],
    ] satisfies [string, Run][]) {
      for (const mode of ['EIO', 'ENOSPC', 'kill', 'tear'] as const) await proveAll(scope, label, mode, run)
    }
  },
}

type Run = (mode: FaultMode, n: number) => ReturnType<Stage['whileRunning']>

async function proveAll(scope: Scope, label: string, mode: FaultMode, run: Run): Promise<void> {
  const ran: Ran[] = []
  let next = 1
  let misses = 0
  const failures: unknown[] = []
  const lane = async () => {
    while (failures.length === 0 && misses < MISSES_TO_END && next <= scope.settings.faults) {
      const n = next++
      try {
        const result = await run(mode, n)
        ran.push(result)
        if (result.hit === null) misses++
      } catch (error) {
        ;(error as Error).message = `${label}, ${mode} at file operation ${n}: ${(error as Error).message}`
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  if (failures.length > 0) throw failures[0]
  const hits = ran.filter(({ hit }) => hit !== null)
  tellAll(scope, {
    [`${label.padEnd(6)} ${mode.padEnd(6)}`]:
      `${hits.length} operations hit (${countBy(hits.map(({ hit }) => hit!.split(' ')[0]!))}); ` +
      `archives: ${countBy(hits.map(({ outcome }) => outcome))}; ` +
      `left until the next start: ${hits.reduce((sum, { orphans }) => sum + orphans, 0)}`,
  })
}
