// Reads a command line into a command. Pure: touches neither process nor files. Wrong use is a UsageError.
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { type ArchiveFormat, archiveFormatSchema, type Compression, compressionSchema } from '#contracts/archive.ts'
import { formatOfFileName } from '../format.ts'

export const DEFAULT_SERVER = 'http://127.0.0.1:8011'

export const topics = ['get', 'plan', 'echo', 'info', 'stress'] as const
export type Topic = (typeof topics)[number]

export interface GetCommand {
  command: 'get'
  server: string
  urls: string[]
  /** Files to read URLs from; "-" is standard input. */
  lists: string[]
  /** Take hosts without a scheme in lists as https. */
  assumeHttps: boolean
  /** File of the archive. "-" is standard output; null is the archive's own name in the current directory. */
  output: string | null
  name: string | undefined
  format: ArchiveFormat
  compression: Compression
  /** Adds a report to the archive. */
  report: boolean
  /** Asks the server for the archive's SHA-256, and checks it. */
  checksum: 'sha-256' | undefined
  onEntryFailure: 'skip' | 'abort'
  json: boolean
  quiet: boolean
}

export interface PlanCommand
  extends Pick<GetCommand, 'server' | 'urls' | 'lists' | 'assumeHttps' | 'name' | 'format' | 'json'> {
  command: 'plan'
  /** The server asks every origin. */
  head: boolean
}

export interface StressCommand {
  command: 'stress'
  server: string
  /** A list of URLs; null takes the samples that the server offers. */
  input: string | null
  clients: number
  rounds: number
  /** Entries of each archive. */
  urls: number
  /** Some clients send the same key twice at the same time. */
  double: boolean
  /** Share of the clients that leave midway, 0 to 1. */
  leave: number
  /** The same seed makes the same choices. Null draws a seed. */
  seed: number | null
}

export type Command =
  | GetCommand
  | PlanCommand
  | StressCommand
  | { command: 'echo'; server: string; text: string }
  | { command: 'info'; server: string; json: boolean }
  | { command: 'help'; topic: Topic | null }
  | { command: 'version' }

/** The command line contradicts itself, or asks for something that does not exist. The exit code is 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly topic: Topic | null

  constructor(message: string, topic: Topic | null = null) {
    super(message)
    this.topic = topic
  }
}

const common = {
  server: { type: 'string', short: 's' },
  help: { type: 'boolean', short: 'h' },
} as const satisfies ParseArgsOptionsConfig

export interface Environment {
  readonly SHEAF_SERVER?: string | undefined
}

/** `argv` holds the arguments after the name of the program. */
export function parseCommandLine(argv: readonly string[], environment: Environment = {}): Command {
  const [first, ...rest] = argv
  if (first === undefined) throw new UsageError('a command is missing')
  if (first === '--version' || first === '-V') return { command: 'version' }
  if (first === '--help' || first === '-h') return { command: 'help', topic: null }
  if (first === 'help') return { command: 'help', topic: rest[0] === undefined ? null : asTopic(rest[0]) }

  const topic = asTopic(first)
  switch (topic) {
    case 'get':
      return parseGet(rest, environment)
    case 'plan':
      return parsePlan(rest, environment)
    case 'stress':
      return parseStress(rest, environment)
    case 'echo': {
      const { values, positionals } = parse(topic, rest, common)
      if (values.help) return { command: 'help', topic }
      if (positionals.length === 0) throw new UsageError('the text is missing', topic)
      return { command: 'echo', server: serverOf(values.server, environment, topic), text: positionals.join(' ') }
    }
    case 'info': {
      const { values, positionals } = parse(topic, rest, { ...common, json: { type: 'boolean' } })
      if (values.help) return { command: 'help', topic }
      if (positionals.length > 0) throw new UsageError(`unexpected argument "${positionals[0]}"`, topic)
      return { command: 'info', server: serverOf(values.server, environment, topic), json: values.json ?? false }
    }
    default:
      return topic satisfies never
  }
}

function parseGet(argv: string[], environment: Environment): Command {
  const { values, positionals } = parse('get', argv, {
    ...common,
    input: { type: 'string', short: 'i', multiple: true },
    'assume-https': { type: 'boolean' },
    output: { type: 'string', short: 'o' },
    name: { type: 'string', short: 'n' },
    format: { type: 'string', short: 'f' },
    compress: { type: 'string', short: 'c' },
    report: { type: 'boolean' },
    sha256: { type: 'boolean' },
    'on-failure': { type: 'string' },
    json: { type: 'boolean' },
    quiet: { type: 'boolean', short: 'q' },
  })
  if (values.help) return { command: 'help', topic: 'get' }
  const { input: lists = [], output = null, json = false, quiet = false } = values
  refuseSources(positionals, lists, 'get')
  if (output === '') throw new UsageError('-o needs a file name', 'get')
  if (output === '-' && json) throw new UsageError('-o - and --json both want standard output', 'get')
  const onEntryFailure = values['on-failure'] ?? 'skip'
  if (onEntryFailure !== 'skip' && onEntryFailure !== 'abort') {
    throw new UsageError(`--on-failure is "skip" or "abort", not "${onEntryFailure}"`, 'get')
  }
  const format = formatOf(values.format, output)
  return {
    command: 'get',
    server: serverOf(values.server, environment, 'get'),
    urls: positionals,
    lists,
    assumeHttps: values['assume-https'] ?? false,
    output,
    name: values.name,
    format,
    compression: compressionOf(values.compress ?? 'store', format),
    report: values.report ?? false,
    checksum: values.sha256 ? 'sha-256' : undefined,
    onEntryFailure,
    json,
    quiet,
  }
}

function parsePlan(argv: string[], environment: Environment): Command {
  const topic = 'plan'
  const { values, positionals } = parse(topic, argv, {
    ...common,
    input: { type: 'string', short: 'i', multiple: true },
    'assume-https': { type: 'boolean' },
    name: { type: 'string', short: 'n' },
    format: { type: 'string', short: 'f' },
    'no-head': { type: 'boolean' },
    json: { type: 'boolean' },
  })
  if (values.help) return { command: 'help', topic }
  const { input: lists = [] } = values
  refuseSources(positionals, lists, topic)
  return {
    command: topic,
    server: serverOf(values.server, environment, topic),
    urls: positionals,
    lists,
    assumeHttps: values['assume-https'] ?? false,
    name: values.name,
    format: formatOf(values.format, null, topic),
    head: !values['no-head'],
    json: values.json ?? false,
  }
}

function refuseSources(urls: readonly string[], lists: readonly string[], topic: Topic): void {
  if (urls.length === 0 && lists.length === 0) throw new UsageError('no URL and no list (-i) is given', topic)
  if (lists.filter((list) => list === '-').length > 1) throw new UsageError('standard input is read only once', topic)
}

function parseStress(argv: string[], environment: Environment): Command {
  const topic = 'stress'
  const { values, positionals } = parse(topic, argv, {
    ...common,
    input: { type: 'string', short: 'i' },
    clients: { type: 'string' },
    rounds: { type: 'string' },
    urls: { type: 'string' },
    double: { type: 'boolean' },
    leave: { type: 'string' },
    seed: { type: 'string' },
  })
  if (values.help) return { command: 'help', topic }
  if (positionals.length > 0) throw new UsageError(`unexpected argument "${positionals[0]}"`, topic)
  const leave = Number(values.leave ?? 0)
  if (!(leave >= 0 && leave <= 1)) throw new UsageError('--leave is a fraction from 0 to 1', topic)
  return {
    command: topic,
    server: serverOf(values.server, environment, topic),
    input: values.input ?? null,
    clients: count('clients', values.clients ?? '10', 1000),
    rounds: count('rounds', values.rounds ?? '3', 100_000),
    urls: count('urls', values.urls ?? '20', 20_000),
    double: values.double ?? false,
    leave,
    seed: values.seed === undefined ? null : count('seed', values.seed, 2 ** 32 - 1),
  }
}

function parse<T extends ParseArgsOptionsConfig>(topic: Topic, args: string[], options: T) {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true })
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    // Node's hint after the first sentence is about "--", which does not help with a mistyped option.
    throw new UsageError(error.message.split('. ')[0] ?? error.message, topic)
  }
}

function asTopic(text: string): Topic {
  const topic = topics.find((known) => known === text)
  if (topic !== undefined) return topic
  const hint = /^https?:/i.test(text) ? `did you mean "sheaf get ${text}"?` : `the commands are ${topics.join(', ')}`
  throw new UsageError(`no command "${text}": ${hint}`)
}

function serverOf(given: string | undefined, { SHEAF_SERVER }: Environment, topic: Topic): string {
  const source = given === undefined ? 'SHEAF_SERVER' : '--server'
  const text = given ?? (SHEAF_SERVER || DEFAULT_SERVER)
  const url = URL.parse(text)
  const usable = url !== null && /^https?:$/.test(url.protocol) && url.hostname !== ''
  if (!usable) throw new UsageError(`${source} is not an http or https URL: "${text}"`, topic)
  if (url.username || url.password || url.search || url.hash) {
    throw new UsageError(`${source} takes no credentials, query or fragment`, topic)
  }
  return url.href.replace(/\/+$/, '')
}

function count(option: string, text: string, max: number): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= 1 && value <= max) return value
  throw new UsageError(`--${option} is a whole number from 1 to ${max}, not "${text}"`, 'stress')
}

function compressionOf(given: string, format: ArchiveFormat): Compression {
  const compression = compressionSchema.safeParse(given)
  if (!compression.success) throw new UsageError(`--compress is store, deflate or auto, not "${given}"`, 'get')
  if (compression.data !== 'store' && format !== 'zip') {
    throw new UsageError(`--compress is for a zip: a ${format} does not compress its entries`, 'get')
  }
  return compression.data
}

function formatOf(given: string | undefined, output: string | null, topic: Topic = 'get'): ArchiveFormat {
  const implied = output === null ? null : formatOfFileName(output)
  if (given === undefined) return implied ?? 'zip'
  const format = archiveFormatSchema.safeParse(given)
  if (!format.success) throw new UsageError(`--format is zip, tar or tar.gz, not "${given}"`, topic)
  if (implied !== null && implied !== format.data) {
    throw new UsageError(`--format ${format.data} contradicts the output's name "${output}"`, 'get')
  }
  return format.data
}
