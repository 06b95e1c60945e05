// Starts programs: servers, which print their port, and commands that print their version.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { killAll, treeOf } from './processes.ts'

export interface Running extends AsyncDisposable {
  readonly pid: number
  readonly port: number
}

export type Environment = Readonly<Record<string, string>>

/** Resolves once the program prints "ready on port N". @throws with what it printed if it ends before that */
export async function startProgram(command: readonly string[], env: Environment = {}): Promise<Running> {
  const child = spawn(command[0]!, command.slice(1), {
    env: { ...process.env, ...env } as NodeJS.ProcessEnv,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let errors = ''
  child.on('error', (error) => (errors += error.message))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors = (errors + text).slice(-4096)))
  for await (const line of createInterface({ input: child.stdout })) {
    const port = /^ready on port (\d+)$/.exec(line)?.[1]
    if (port === undefined) continue
    child.stdout.resume()
    return { pid: child.pid!, port: Number(port), [Symbol.asyncDispose]: () => end(child) }
  }
  throw new Error(`${command.join(' ')} did not start: ${errors}`)
}

/** Ends the program and all that it has started, which nobody else would end. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  const tree = treeOf(child.pid!)
  killAll(tree, 'SIGTERM')
  const hurry = setTimeout(() => killAll(tree, 'SIGKILL'), 5_000)
  await exited
  clearTimeout(hurry)
}

/** Returns the first text that looks like a version. Null if the program is missing or fails. */
export function versionOf(program: string, parameters: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(program, parameters, (error, stdout, stderr) => {
      resolve(error ? null : (/\d+\.\d+(\.\d+)*/.exec(stdout + stderr)?.[0] ?? 'unknown'))
    })
  })
}
