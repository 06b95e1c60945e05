// One client holds places in every way it can. Another client's archive of twenty good files must take only a little longer.
import { inOwnNetwork } from '../support/own-network.ts'
import { type Proof, promised, tellAll } from './scope.ts'

export interface ShareRow {
  readonly way: string
  readonly aloneMs: number
  readonly besideMs: number
}

const MAX_TIMES = 3
const WITHIN_MS = 20 * 60_000

export const shares: Proof = {
  summary: 'a client at its worst, and what that costs the archive of another one',
  async prove(scope) {
    const rows = (await inOwnNetwork(new URL('./shares-stage.ts', import.meta.url), {
      timeoutMs: WITHIN_MS,
    })) as ShareRow[]
    const times = ({ aloneMs, besideMs }: ShareRow) => besideMs / aloneMs
    const telling = (row: ShareRow) =>
      `${Math.round(row.besideMs)} ms, alone ${Math.round(row.aloneMs)} ms: ${times(row).toFixed(2)} times`
    tellAll(scope, Object.fromEntries(rows.map((row) => [row.way, telling(row)])))
    for (const row of rows) promised(times(row) <= MAX_TIMES, () => `${row.way}: ${telling(row)}`)
  },
}
