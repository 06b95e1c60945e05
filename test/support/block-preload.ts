// Loaded into a server under test: on SIGUSR2 it says on stderr how long its loop was blocked at most since the last time.
import { writeSync } from 'node:fs'

const EVERY_MS = 2
let longestMs = 0
let before = process.threadCpuUsage()

/**
 * What the main thread computed between two turns, not how late the second one was: a busy machine is no fault of the server's.
 */
function look(): void {
  const now = process.threadCpuUsage()
  longestMs = Math.max(longestMs, (now.user - before.user + now.system - before.system) / 1000)
  before = now
}

setInterval(look, EVERY_MS).unref()

process.on('SIGUSR2', () => {
  look()
  writeSync(2, `blocked ${longestMs}\n`)
  longestMs = 0
  before = process.threadCpuUsage()
})
