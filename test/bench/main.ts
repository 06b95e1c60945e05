// The benchmark's command: reads the arguments, runs the workloads, prints the figures, and leaves nothing behind.
import { accessSync, constants, rmSync } from 'node:fs'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type BenchOptions, helpText, readArguments, UsageError } from './args.ts'
import { type LoopDelay, loopDelayOf } from './loop.ts'
import { describeMachine } from './machine.ts'
import { type Origins, startOrigins } from './origin.ts'
import { aria2Zip, curlFiles, curlZip, wgetListZip, wgetZip } from './peers/commands.ts'
import type { Peer } from './peers/peer.ts'
import { naive, passThrough, zipstream } from './peers/served.ts'
import { createSheaf } from './peers/sheaf.ts'
import { killDescendants } from './processes.ts'
import { reportOf } from './report.ts'
import { measureStart } from './start.ts'
import { runRounds, withWorkload } from './trials.ts'
import { scaled, workloads } from './workloads.ts'

/** The peers of the targets come first, next to sheaf: runs that are close in time compare best. */
const others = [passThrough, curlZip, curlFiles, naive, zipstream, aria2Zip, wgetListZip, wgetZip]
const SHARED_MEMORY = '/dev/shm'

const say = (text: string) => process.stdout.write(`${text}\n`)
const tell = (line: string) => process.stderr.write(`${line}\n`)

async function main(argv: string[]): Promise<number> {
  let options: BenchOptions | null
  try {
    options = readArguments(argv, ['sheaf', ...others.map(({ name }) => name)])
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    tell(`${error.message} (see --help)`)
    return 2
  }
  if (options === null) {
    say(helpText(others))
    return 0
  }
  const directories: string[] = []
  const { keep } = options
  process.on('exit', () => {
    killDescendants()
    if (keep) tell(`kept: ${directories.join(', ')}`)
    else for (const path of directories) rmSync(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130))
  const open = async (parent: string) => {
    await mkdir(parent, { recursive: true })
    const path = await mkdtemp(join(parent, 'sheaf-bench-'))
    directories.push(path)
    return path
  }
  const memory = await open(defaultDirectory())
  return run(options, memory, options.directory === null ? memory : await open(resolve(options.directory)))
}

function defaultDirectory(): string {
  try {
    accessSync(SHARED_MEMORY, constants.W_OK)
    return SHARED_MEMORY
  } catch {
    return tmpdir()
  }
}

/** The origin's files lie in memory even if the spool is on a disk, because the origin is not what is measured. */
async function run(options: BenchOptions, originDirectory: string, directory: string): Promise<number> {
  await using origins = await startOrigins(originDirectory)
  const { peers, versions, missing } = await takeStock(options)
  const machine = describeMachine(directory)
  tellHead()
  const report: Record<string, unknown> = { machine, origin: origins.name, versions, options }
  let broken = false
  for (const name of options.workloads) {
    const workload = scaled(workloads[name], options.scale)
    const settings = { ...options, directory, tell }
    await withWorkload(workload, origins, settings, async (open) => {
      const { samples, wrong, failed } = await runRounds(workload, peers, open, settings)
      say(reportOf(workload, samples, options))
      for (const line of wrong) say(line)
      broken ||= wrong.length > 0 || failed.includes('sheaf')
      const canWatch = options.loopDelay && !failed.includes('sheaf')
      const loopDelay = canWatch ? await loopDelayOf(await open(), options.env) : null
      if (loopDelay !== null) say(`${describeDelay(loopDelay)}\n`)
      report[name] = { workload, samples: Object.fromEntries(samples), wrong, failed, loopDelay }
    })
  }
  if (options.start) report.start = await runStart(options, origins, directory)
  if (options.json !== null) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`)
  return broken ? 1 : 0

  function tellHead() {
    const { date, cpu, kernel, node, fileSystem } = machine
    const settings = Object.entries(options.env).map(([setting, value]) => `${setting}=${value}`)
    const lines = [
      `sheaf's benchmark, ${date} UTC: ${cpu}, Linux ${kernel}, Node ${node}`,
      `origin ${origins.name} (W4: Node), ${options.rounds} rounds in turns, seed ${options.seed}; peers: ${versions.join('; ')}`,
      `spool and what the peers make on ${fileSystem} (${directory}), the origin's files in ${originDirectory}`,
      `servers are fresh ones, warmed by ${options.warmUps} archives of 200 x 10 KiB and 8 x 1 MiB; settings of sheaf: ` +
        (settings.length === 0 ? 'defaults' : settings.join(' ')),
      'CPU: user and system time of the process tree, from /proc/PID/stat of servers, from the times of the shell of commands',
      'RSS: VmHWM, summed over the tree; of commands every 100 ms. GB and MB are 10^9 and 10^6 bytes of payload',
      'first byte: of the body; of commands it is when the archive is there. n=1: slow at this workload, in the first round alone',
      ...missing,
    ]
    say(`${lines.map((line) => (options.markdown ? `- ${line}` : line)).join('\n')}\n`)
  }
}

async function takeStock({ peers: chosen, env }: BenchOptions) {
  const peers: Peer[] = [createSheaf(env)]
  const versions: string[] = []
  const missing: string[] = []
  for (const peer of others) {
    if (chosen !== null && !chosen.includes(peer.name)) continue
    const presence = await peer.probe()
    if ('missing' in presence) missing.push(`not installed, left out: ${peer.name} (${presence.missing})`)
    else {
      peers.push(peer)
      versions.push(`${peer.name} ${presence.version}`)
    }
  }
  return { peers, versions, missing }
}

async function runStart(options: BenchOptions, origins: Origins, directory: string) {
  // W2 has the longest list: as many entries as an archive may have.
  const workload = scaled(workloads.W2, options.scale)
  const figures = await withWorkload(workload, origins, { ...options, directory }, (open) =>
    measureStart(open, options.env),
  )
  const { readyMs, starts, entries, submits, submitMs, longestBlockMs } = figures
  const [median, min, max] = [readyMs.median, readyMs.min, readyMs.max].map(Math.round)
  say(`start: ready after ${median} ms (${min} to ${max}, ${starts} starts)`)
  say(
    `submit of ${entries} entries: answered after ${Math.round(submitMs)} ms, ` +
      `the event loop blocked for ${Math.round(longestBlockMs)} ms at most (medians of ${submits})`,
  )
  return figures
}

const describeDelay = ({ p50, p99, max }: LoopDelay) =>
  `delay of sheaf's event loop, in a round of its own: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, max ${max.toFixed(1)} ms`

process.exit(await main(process.argv.slice(2)))
