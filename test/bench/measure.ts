// Measures one run of a server or of commands: wall time, and CPU time and peak memory of the process tree.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Counted } from './download.ts'
import { cpuMsOf, peakRssBytesOf, resetPeakRss, treeOf } from './processes.ts'
import type { Environment } from './programs.ts'
import type { Sample } from './table.ts'

/** The kernel books CPU time by the tick, so time used before the last byte may be booked this much later. */
const SETTLE_MS = 20
const RSS_EVERY_MS = 100

/** Asks a server for `archives` archives at once. CPU time and peak memory count from now until the last one is done. */
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
  /** A script for bash. What it prints to stderr is the error if it fails. */
  readonly script: string
  /** The script's $@. */
  readonly parameters: readonly string[]
  readonly env: Environment
}

/** Runs scripts at once, each to its end. Their CPU time is what bash reports of itself and of every child it waited for. */
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
    // A command's archive can only be downloaded when it is complete, so its first byte comes with its last.
    return { wallMs: Math.max(...doneMs), cpuMs, peakRssBytes, firstByteMs: doneMs, doneMs }
  } finally {
    clearInterval(watch)
  }
}

/** Sums the four times that the shell's `times` prints: one line like "0m1.234s 0m0.010s" for itself, one for its children. */
export function cpuMsOfTimes(lines: string): number {
  return [...lines.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000,
    0,
  )
}
