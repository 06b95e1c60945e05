// Thousands of hostile connections, of each sort and of all sorts at once. The server must keep its memory bounded and serve others.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { besiege, median, memoryOf, prepare, type SortName, sortNames } from '../support/crowds.ts'
import { startOrigin } from '../support/origin.ts'
import { baselineOf, checkBaseline, openServer, stopInTime } from './house.ts'
import { mebibytes, type Proof, promised, tellAll } from './scope.ts'

const MAX_BYTES = 500 * 2 ** 20
const MAX_MEDIAN_MS = 100
/** A generous bound: the crowds run in this process too, which delays its own measurements while they connect. */
const MAX_MS = 5_000
/** The addresses of the crowds. The honest client has another one. */
const ADDRESSES = Array.from({ length: 16 }, (_, n) => `127.0.0.${n + 2}`)

export const crowds: Proof = {
  summary: '--crowd hostile connections of each sort, then of all sorts together',
  async prove(scope) {
    const { settings, directory } = scope
    const dataDir = join(directory, 'data')
    await using stack = new AsyncDisposableStack()
    const origin = stack.use(await startOrigin())
    const server = stack.use(await openServer({}, dataDir))
    stack.defer(() => rm(dataDir, { recursive: true, force: true }))
    const victim = await prepare(server, origin)
    const sieges: (readonly SortName[])[] = [...sortNames.map((name) => [name]), sortNames]
    for (const names of sieges) {
      // A fresh process, so that heap left by an earlier crowd is not counted against this one.
      await stopInTime(server)
      await server.restart()
      const before = await baselineOf(server)
      const count = Math.ceil(settings.crowd / names.length)
      const label = names.length === 1 ? names[0]! : 'all together'
      const restBytes = await memoryOf(server)
      const { health, maxBytes, goodMs } = await besiege(server, origin, victim, { names, count, from: ADDRESSES })
      const slowest = Math.max(...health)
      tellAll(scope, {
        [`${count * names.length} of ${label}`]:
          `rss ${mebibytes(restBytes)} to ${mebibytes(maxBytes)}, healthz ${median(health).toFixed(1)} ms ` +
          `(slowest ${Math.round(slowest)} ms), a good archive ${Math.round(goodMs)} ms`,
      })
      promised(maxBytes < MAX_BYTES, `${label}: ${mebibytes(maxBytes)} were taken`)
      promised(median(health) < MAX_MEDIAN_MS, `${label}: healthz took ${Math.round(median(health))} ms`)
      promised(slowest < MAX_MS, `${label}: healthz once took ${Math.round(slowest)} ms`)
      await checkBaseline(scope, server, before)
    }
    await stopInTime(server)
  },
}
