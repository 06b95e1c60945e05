// Reads the command line of the benchmark. It is pure: wrong use becomes a UsageError.
import { parseArgs } from 'node:util'
import { type WorkloadName, workloadNames } from './workloads.ts'

export interface BenchOptions {
  readonly workloads: readonly WorkloadName[]
  /** Measure the start of the server and a large submit. */
  readonly start: boolean
  readonly rounds: number
  /** Peers that run besides sheaf. Null means all. */
  readonly peers: readonly string[] | null
  /** If true, a peer that is slow at a workload runs in every round and not only in the first. */
  readonly allPeers: boolean
  /** Directory of spool and archives. Null lets the benchmark choose. */
  readonly directory: string | null
  readonly keep: boolean
  readonly json: string | null
  readonly markdown: boolean
  readonly loopDelay: boolean
  readonly scale: number
  readonly seed: number
  /** How many archives a fresh server makes before it is measured. */
  readonly warmUps: number
  /** Settings of the sheaf server. */
  readonly env: Readonly<Record<string, string>>
}

export class UsageError extends Error {
  override readonly name = 'UsageError'
}

const options = {
  rounds: { type: 'string' },
  peers: { type: 'string' },
  'all-peers': { type: 'boolean' },
  dir: { type: 'string' },
  keep: { type: 'boolean' },
  json: { type: 'string' },
  markdown: { type: 'boolean' },
  'loop-delay': { type: 'boolean' },
  scale: { type: 'string' },
  seed: { type: 'string' },
  'warm-ups': { type: 'string' },
  env: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h' },
} as const

export const helpText = (
  peers: readonly { name: string; about: string }[],
) => `Usage: npm run bench -- [W1...] [start] [options]

Measures sheaf and its peers in one go, in turns, and checks every archive. All workloads unless some are named.
Ends with 1 if an archive was wrong or sheaf failed. Compare within one run only: machines drift.

  W1  1000 x 1 MiB                W4  300 x 100 KiB, the origin answers after 50 ms
  W2  20000 x 10 KiB              W5  50 archives of 20 x 1 MiB at once
  W3  2 x 1 GiB                   W6  W1 over TLS
  start  start of the server until it is ready; a manifest of 20000 entries submitted

  --rounds N        rounds; in each, every peer runs once [5]
  --peers A,B       only these, besides sheaf
  --all-peers       in every round also those that are slow at a workload, and those that take minutes
  --dir DIR         where spool and archives lie [/dev/shm, else the system's temporary directory]
  --env NAME=VALUE  a setting of the sheaf server; more than once
  --loop-delay      one more round of sheaf, in which the delay of its event loop is watched
  --json FILE       all samples
  --markdown        tables in Markdown
  --scale X         a fraction of the workload, to try the benchmark out [1]
  --seed N          the files' content [1]
  --warm-ups N      archives of 200 x 10 KiB and 8 x 1 MiB that each fresh server makes before it is measured; 1 shows
                    what a server that was just started does [10]
  --keep            leave the last files there

${peers.map(({ name, about }) => `  ${name.padEnd(16)}  ${about}`).join('\n')}
`

/** Returns null if help is asked for. @throws UsageError */
export function readArguments(argv: readonly string[], peers: readonly string[]): BenchOptions | null {
  const { values, positionals } = parse(argv)
  if (values.help) return null
  const unknown = positionals.find((name) => name !== 'start' && !isWorkload(name))
  if (unknown !== undefined) throw new UsageError(`there is no workload "${unknown}"`)
  const named = positionals.filter(isWorkload)
  const start = positionals.includes('start')
  const chosen = values.peers === undefined ? null : values.peers.split(',').filter((name) => name !== '')
  const stranger = chosen?.find((name) => !peers.includes(name))
  if (stranger !== undefined) throw new UsageError(`there is no peer "${stranger}", only ${peers.join(', ')}`)
  return {
    workloads: positionals.length === 0 ? workloadNames : workloadNames.filter((name) => named.includes(name)),
    start,
    rounds: positive('rounds', values.rounds, 5, Number.isSafeInteger),
    peers: chosen,
    allPeers: values['all-peers'] ?? false,
    directory: values.dir ?? null,
    keep: values.keep ?? false,
    json: values.json ?? null,
    markdown: values.markdown ?? false,
    loopDelay: values['loop-delay'] ?? false,
    scale: positive('scale', values.scale, 1, Number.isFinite),
    seed: positive('seed', values.seed, 1, Number.isSafeInteger),
    warmUps: positive('warm-ups', values['warm-ups'], 10, Number.isSafeInteger),
    env: Object.fromEntries((values.env ?? []).map(setting)),
  }
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true })
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0]!)
  }
}

const isWorkload = (name: string): name is WorkloadName => (workloadNames as readonly string[]).includes(name)

function positive(name: string, text: string | undefined, fallback: number, isRight: (value: number) => boolean) {
  const value = text === undefined ? fallback : Number(text)
  if (isRight(value) && value > 0) return value
  throw new UsageError(`--${name} takes a number above 0, not "${text}"`)
}

function setting(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at < 1) throw new UsageError(`--env takes NAME=VALUE, not "${text}"`)
  return [text.slice(0, at), text.slice(at + 1)]
}
