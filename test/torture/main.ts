// The command of the long proofs: it runs the proofs that are asked for, one after the other, and stops at the first broken promise.
import { randomInt } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { crc32 } from 'node:zlib'
import { createRandom } from '../../client-node/cli/stress-plan.ts'
import { crowds } from './crowds.ts'
import { faults } from './faults.ts'
import { killServers } from './house.ts'
import { kills } from './kills.ts'
import { power } from './power.ts'
import { restarts } from './restarts.ts'
import { rounds } from './rounds.ts'
import { BrokenPromise, type Proof, type Settings } from './scope.ts'
import { shares } from './shares.ts'
import { sockets } from './sockets.ts'
import { watchers } from './watchers.ts'
import { cases, zip64 } from './zip64.ts'

const proofs: Record<string, Proof> = {
  kills,
  faults,
  power,
  watchers,
  restarts,
  baseline: rounds,
  zip64,
  sockets,
  crowds,
  shares,
}

const flags: Record<keyof Settings, { fallback: number | null; meaning: string }> = {
  kills: { fallback: 100, meaning: 'kills: how often the server is killed' },
  clients: { fallback: 6, meaning: 'kills, power, restarts, baseline: clients at a time' },
  cuts: { fallback: 200, meaning: 'power: how often the disk is cut' },
  faults: { fallback: 400, meaning: 'faults: the last file operation that is made to fail, should there be so many' },
  sockets: { fallback: 1000, meaning: 'watchers: sockets that watch, and as many that are idle' },
  crowd: { fallback: 2000, meaning: 'crowds: hostile connections of each sort' },
  seconds: { fallback: 60, meaning: 'watchers, restarts, sockets: how long the load goes on' },
  rounds: { fallback: 20, meaning: 'baseline: rounds of load on one process' },
  first: { fallback: 1, meaning: 'zip64: the first of its cases that is run' },
  last: { fallback: cases.length, meaning: 'zip64: the last of its cases that is run' },
  seed: { fallback: null, meaning: 'all: the same seed makes the same choices [drawn and told]' },
}

function help(): string {
  const width = Math.max(...Object.keys(flags).map(({ length }) => length)) + 2
  const options = Object.entries(flags).map(
    ([name, { fallback, meaning }]) =>
      `  ${`--${name}`.padEnd(width)}  ${meaning}${fallback === null ? '' : ` [${fallback}]`}`,
  )
  const list = Object.entries(proofs).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
  return `Usage: npm run torture -- [proof...] [--flag number...]

Long proofs with real servers, all of them unless some are named. Ends with 1 at the first broken promise.
Data lies in the system's temporary directory (TMPDIR).

${list.join('\n')}

${options.join('\n')}
`
}

function complain(message: string): 2 {
  process.stderr.write(`${message} (see --help)\n`)
  return 2
}

async function main(argv: string[]): Promise<number> {
  const strings = Object.fromEntries(Object.keys(flags).map((name) => [name, { type: 'string' as const }]))
  let parsed: { values: Record<string, unknown>; positionals: string[] }
  try {
    const options = { ...strings, help: { type: 'boolean' as const, short: 'h' } }
    parsed = parseArgs({ args: argv, options, allowPositionals: true })
  } catch (error) {
    return complain((error as Error).message)
  }
  const { values, positionals } = parsed
  if (values.help) {
    process.stdout.write(help())
    return 0
  }
  const drawn = randomInt(1, 2 ** 31)
  const settings: Record<string, number> = {}
  for (const [name, { fallback }] of Object.entries(flags)) {
    const value = Number(values[name] ?? fallback ?? drawn)
    if (!Number.isSafeInteger(value) || value < 1) return complain(`--${name} takes a whole number above 0`)
    settings[name] = value
  }
  const names = positionals.length > 0 ? positionals : Object.keys(proofs)
  const unknown = names.find((name) => !(name in proofs))
  if (unknown !== undefined) return complain(`there is no proof called ${unknown}`)
  return run(names, settings as unknown as Settings)
}

async function run(names: readonly string[], settings: Settings): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'sheaf-torture-'))
  // Servers are started by the hundred, so they share a compile cache.
  process.env.NODE_COMPILE_CACHE = join(directory, 'compile-cache')
  process.on('exit', () => {
    killServers()
    rmSync(directory, { recursive: true, force: true })
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130))
  const tell = (line: string) => process.stdout.write(`${line}\n`)
  tell(`seed ${settings.seed}`)
  for (const name of names) {
    const startedAt = performance.now()
    tell(`\n${name}: ${proofs[name]!.summary}`)
    const own = join(directory, name)
    await mkdir(own)
    try {
      const random = createRandom(settings.seed ^ crc32(name))
      await proofs[name]!.prove({ settings, random, directory: own, tell })
    } catch (error) {
      const { message, stack } = error as Error
      const what = error instanceof BrokenPromise ? `BROKEN PROMISE: ${message}` : `${message}\n${stack}`
      process.stderr.write(`${name}: ${what}\n`)
      return 1
    }
    await rm(own, { recursive: true, force: true })
    tell(`  kept, after ${Math.round((performance.now() - startedAt) / 1000)} s`)
  }
  return 0
}

process.exit(await main(process.argv.slice(2)))
