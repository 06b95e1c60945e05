// Measures one run: a server while it is asked, or commands until they end. Wall, CPU and peak memory of the process tree.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Counted } from './download.ts'
import { cpuMsOf, peakRssBytesOf, resetPeakRss, treeOf } from './processes.ts'
import type { Environment } from './programs.ts'
import type { Sample } from './table.ts'

/** CPU time is booked by the tick: what was used before the last byte may be booked after it. */
const SETTLE_MS = 20
const RSS_EVERY_MS = 100

/** Asks a server for some archives at once. Its memory counts from here on, its CPU until the last of them is done. */
export async function measureServer<T extends Counted>(
  pid: number,
  archives: number,
  ask: (startedAt: number) => Promise<T>,
): Promise<{ sample: Sample; downloads: T[] }> {
  const before = treeOf(pid)
  resetPeakRss(before)
  const cpuBeforeMs = cpuMsOf(before)
  const startedAt = performance.now()
  const downloads = await Promise.all(Array.from({ length: archives }, () => ask(startedAt)))
  await sleep(SETTLE_MS)
  const after = treeOf(pid)
  const sample = {
    wallMs: Math.max(...downloads.map(({ doneMs }) => doneMs)),
    cpuMs: cpuMsOf(after) - cpuBeforeMs,
    peakRssBytes: peakRssBytesOf(after),
    firstByteMs: downloads.map(({ firstByteMs }) => firstByteMs),
    doneMs: downloads.map(({ doneMs }) => doneMs),
  }
  return { sample, downloads }
}

export interface Command {
  readonly directory: string
  /** For bash; what it prints is an error. */
  readonly script: string
  /** $@ */
  readonly parameters: readonly string[]
  readonly env: Environment
}

/** Runs scripts at once, each to its end. Their CPU is what bash says of itself and of all it has waited for. */
export async function measureCommands(commands: readonly Command[]): Promise<Sample> {
  const startedAt = performance.now()
  const started = commands.map(({ directory, script, parameters, env }) => {
    const whole = `{ ${script}\n}; status=$?; times >&3; exit $status`
    const child = spawn('bash', ['-c', whole, 'bench', ...parameters], {
      cwd: directory,
      env: { ...process.env, ...env } as NodeJS.ProcessEnv,
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    })
    const ended = once(child, 'exit').then(([code]) => ({ code: code as number | null, doneMs: elapsed() }))
    return { child, ended, errors: text(child.stderr!), times: text(child.stdio[3] as NodeJS.ReadableStream) }
  })
  function elapsed() {
    return performance.now() - startedAt
  }
  let peakRssBytes = 0
  const watch = setInterval(() => {
    const running = started.flatMap(({ child }) => (child.pid === undefined ? [] : treeOf(child.pid)))
    peakRssBytes = Math.max(peakRssBytes, peakRssBytesOf(running))
  }, RSS_EVERY_MS)
  try {
    const ends = await Promise.all(started.map(({ ended }) => ended))
    for (const [index, { code }] of ends.entries()) {
      const errors = (await started[index]!.errors).trim().slice(0, 300)
      if (code !== 0) throw new Error(`ended with ${code}: ${errors}`)
    }
    const times = await Promise.all(started.map((command) => command.times))
    const doneMs = ends.map((end) => end.doneMs)
    const cpuMs = times.reduce((sum, lines) => sum + cpuMsOfTimes(lines), 0)
    // An archive that is made before it is served has its first byte when it has its last.
    return { wallMs: Math.max(...doneMs), cpuMs, peakRssBytes, firstByteMs: doneMs, doneMs }
  } finally {
    clearInterval(watch)
  }
}

/** Sums the four times that the shell's `times` prints: "0m1.234s 0m0.010s", of itself and of its children. */
export function cpuMsOfTimes(lines: string): number {
  return [...lines.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000,
    0,
  )
}
