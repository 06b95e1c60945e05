// Runs the server's program to its end, to test starts that it refuses and what it prints.
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export async function runServer(env: Record<string, string>, argv: string[] = []): Promise<Ran> {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SHEAF_')))
  const child = spawn(process.execPath, ['--import', './server/require-node.js', 'server/main.ts', ...argv], {
    cwd: root,
    env: { ...inherited, SHEAF_PORT: '0', SHEAF_SAMPLES_PORT: '-1', ...env } as NodeJS.ProcessEnv,
    stdio: ['ignore', 'pipe', 'pipe'],
    // If it does start it is killed, and then has no exit code.
    timeout: 10_000,
    killSignal: 'SIGKILL',
  })
  const code = new Promise<number | null>((resolve) => child.on('close', resolve))
  const [exit, stdout, stderr] = await Promise.all([code, text(child.stdout), text(child.stderr)])
  return { code: exit, stdout, stderr }
}
