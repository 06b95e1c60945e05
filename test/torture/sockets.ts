// Fetches for --seconds over pooled sockets that die, pause and trickle, over http and https. No byte may be wrong, no slab lost.
import { openDispatcher } from '../support/fetching.ts'
import { startOrigin } from '../support/origin.ts'
import { fetchUnderFire } from '../support/sockets-under-fire.ts'
import { until } from '../support/wait.ts'
import { type Proof, promised, tellAll } from './scope.ts'

const REQUESTS_A_ROUND = 300

export const sockets: Proof = {
  summary:
    'pooled sockets for --seconds: connections killed, bodies paused and aborted, headers trickled, each chunk checked late',
  async prove(scope) {
    const { settings, random } = scope
    for (const scheme of ['http', 'https'] as const) {
      await using origin = await startOrigin(scheme === 'https' ? { tls: 'trusted' } : {})
      const dispatcher = openDispatcher({ maxConnectionsPerOrigin: 8, extraCa: origin.ca ? [origin.ca] : [] })
      const endAt = performance.now() + (settings.seconds * 1000) / 2
      const ends = { whole: 0, killed: 0, aborted: 0 }
      let leased = 0
      let ordinary = 0
      do {
        const fire = await fetchUnderFire(dispatcher, origin, REQUESTS_A_ROUND, random).catch((error: Error) => error)
        if (fire instanceof Error) promised(false, `${scheme}: ${fire.message}`)
        else {
          ends.whole += fire.whole
          ends.killed += fire.killed
          ends.aborted += fire.aborted
          leased += fire.leased
          ordinary += fire.ordinary
        }
      } while (performance.now() < endAt)
      await dispatcher.destroy()
      const slabs = dispatcher.slabs!
      await until(() => slabs.live === 0, { what: 'every slab to be back' }).catch(() => {})
      promised(slabs.live === 0, () => `${scheme}: ${slabs.live} slabs never came back`)
      promised(slabs.orphans === 0, () => `${scheme}: ${slabs.orphans} slabs were given up without need`)
      promised(leased > ordinary, () => `${scheme}: only ${leased} chunks came by slabs, and ${ordinary} not`)
      promised(ends.killed > 0 && ends.aborted > 0, () => `${scheme}: nothing was killed or aborted`)
      tellAll(scope, {
        [`over ${scheme}`]: Object.entries(ends)
          .map(([end, count]) => `${end} ${count}`)
          .join(', '),
        chunks: `${leased} in slabs, ${ordinary} in ordinary memory`,
        slabs: `0 live, ${slabs.orphans} orphans`,
      })
    }
  },
}
