// Is loaded into a server under test. On SIGUSR2 it writes the vitals of the process to stderr, as one line of JSON.
import { writeSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void
const RESOLUTION_MS = 10
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
delay.enable()

/** The histogram holds the time between two ticks. The delay is what exceeds the length of a tick. */
const exceeding = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS)

process.on('SIGUSR2', () => {
  const loopDelayMs = {
    p50: exceeding(delay.percentile(50)),
    p99: exceeding(delay.percentile(99)),
    max: exceeding(delay.max),
  }
  collectGarbage()
  const { rss: rssBytes, heapUsed: heapUsedBytes } = process.memoryUsage()
  const resources: Record<string, number> = {}
  for (const name of process.getActiveResourcesInfo().sort()) resources[name] = (resources[name] ?? 0) + 1
  writeSync(2, `vitals ${JSON.stringify({ rssBytes, heapUsedBytes, resources, loopDelayMs })}\n`)
  // The garbage collection that was just forced must not count as a delay of the server.
  setTimeout(() => delay.reset(), 5 * RESOLUTION_MS).unref()
})
