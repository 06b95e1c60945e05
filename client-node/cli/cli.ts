#!/usr/bin/env node
// The command `sheaf`: handles signals and exit codes, and runs the command that was asked for.
import { readFile } from 'node:fs/promises'
import { createSheafClient } from '../client.ts'
import { ArchiveAbortedError } from '../save.ts'
import { type Command, parseCommandLine, UsageError } from './args.ts'
import { runGet, type Terminal, writeLine } from './get.ts'
import { helpText } from './help.ts'
import { ListError } from './list.ts'
import { runPlan } from './plan.ts'
import { abortedLine, infoLines, printable } from './render.ts'

/** The user interrupted the command, or the reader of its output has closed it. */
class Interrupted extends Error {
  override readonly name = 'Interrupted'
  readonly exitCode: number

  constructor(why: string, exitCode: number) {
    super(why)
    this.exitCode = exitCode
  }
}

/** 128 plus the number of the signal, as in shells. */
const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const
/** The process ends this long after the command, even if e.g. a socket to a server that is gone is still open. */
const LINGER_MS = 2_000

async function run(command: Command, terminal: Terminal): Promise<number> {
  const { stdout, signal } = terminal
  switch (command.command) {
    case 'help':
      stdout.write(helpText(command.topic))
      return 0
    case 'version':
      await writeLine(stdout, await ownVersion())
      return 0
    case 'get':
      return await runGet(command, terminal)
    case 'plan':
      return await runPlan(command, terminal)
    case 'stress': {
      const { runStress } = await import('./stress.ts')
      return await runStress(command, terminal)
    }
    case 'echo': {
      await using client = createSheafClient({ url: command.server })
      await writeLine(stdout, forStream(stdout, await client.echo(command.text, { signal })))
      return 0
    }
    case 'info': {
      await using client = createSheafClient({ url: command.server })
      const info = await client.serverInfo({ signal })
      for (const line of command.json ? [JSON.stringify(info, null, 2)] : infoLines(client.url, info)) {
        await writeLine(stdout, line)
      }
      return 0
    }
    default:
      return command satisfies never
  }
}

/** A pipe gets the text as it is. A terminal gets it with escapes for characters that could harm it. */
function forStream(stream: { isTTY?: boolean }, text: string): string {
  return stream.isTTY ? printable(text) : text
}

async function ownVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

function complain(error: unknown): number {
  if (error instanceof Interrupted) {
    if (error.exitCode > 128) console.error('sheaf: cancelled')
    return error.exitCode
  }
  if (error instanceof UsageError) {
    const help = error.topic === null ? 'sheaf --help' : `sheaf ${error.topic} --help`
    console.error(`sheaf: ${printable(error.message)}\n(see "${help}")`)
    return 2
  }
  const text = error instanceof ArchiveAbortedError ? abortedLine(error.event) : messageOf(error)
  console.error(`sheaf: ${text}`)
  return error instanceof ListError ? 2 : 1
}

function messageOf(error: unknown): string {
  return printable(error instanceof Error ? error.message : String(error))
}

async function main(): Promise<void> {
  const ending = new AbortController()
  for (const [name, exitCode] of Object.entries(exitCodes)) {
    process.on(name, () => {
      if (ending.signal.aborted) process.exit(exitCode)
      ending.abort(new Interrupted(name, exitCode))
    })
  }
  // A reader may close the pipe when it has enough (`| head`). That is not an error, but nobody needs the rest.
  process.stdout.on('error', () => ending.abort(new Interrupted('standard output is closed', 1)))
  process.stderr.on('error', () => {})

  const { stdin, stdout, stderr } = process
  const terminal: Terminal = { stdin, stdout, stderr, term: process.env.TERM, signal: ending.signal }
  try {
    process.exitCode = await run(parseCommandLine(process.argv.slice(2), process.env), terminal)
  } catch (error) {
    process.exitCode = complain(ending.signal.aborted ? ending.signal.reason : error)
  }
  setTimeout(() => process.exit(), LINGER_MS).unref()
}

await main()
