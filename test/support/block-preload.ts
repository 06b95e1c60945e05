// Is loaded into a server under test. On SIGUSR2 it writes to stderr the longest time its loop was blocked since the last signal.
import { writeSync } from 'node:fs'

const EVERY_MS = 2
let longestMs = 0
let before = process.threadCpuUsage()

/**
 * Measures the CPU time of the main thread between two turns, and not how late the second turn was: on a busy machine a
 * turn is late without a fault of the server.
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
