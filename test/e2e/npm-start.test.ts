// `npm start` as an operator runs it: a signal to npm also ends the server, and the next start can use its data directory.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { tempDirectory } from '../support/temp.ts'
import { until } from '../support/wait.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Enough for npm and for the server. */
const START_WITHIN_MS = 60_000

interface Started extends AsyncDisposable {
  readonly npm: ChildProcess
  readonly port: number
}

async function npmStart(dataDir: string): Promise<Started> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(SHEAF_|npm_|NODE_ENV$|VITEST)/.test(name))
  // Its pre-scripts are left out, because they rebuild the page that other tests use.
  const npm = spawn('npm', ['start', '--ignore-scripts'], {
    cwd: root,
    // If the test fails the whole process group is killed: the server is in it, whatever its parent is by then.
    detached: true,
    env: { ...Object.fromEntries(inherited), SHEAF_PORT: '0', SHEAF_SAMPLES_PORT: '-1', SHEAF_DATA_DIR: dataDir },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let log = ''
  for (const stream of [npm.stdout, npm.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log += text
    })
  }
  const end = () => {
    try {
      process.kill(-npm.pid!, 'SIGKILL')
    } catch {
      // No process is left, as it should be.
    }
  }
  try {
    const port = await until(
      () => {
        if (npm.exitCode !== null) throw new Error(`npm start ended:\n${log}`)
        return Number(/ is ready on http:\/\/\S+?:(\d+)/.exec(log)?.[1])
      },
      { what: 'the server that npm starts', timeoutMs: START_WITHIN_MS },
    )
    return {
      npm,
      port,
      async [Symbol.asyncDispose]() {
        end()
      },
    }
  } catch (error) {
    end()
    throw error
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

describe('npm start', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'takes its server along on %s, and starts again on the same data',
    async (signal) => {
      await using data = await tempDirectory()
      for (let round = 1; round <= 2; round++) {
        await using started = await npmStart(data.path)
        const { npm, port } = started
        expect(await answers(port)).toBe(true)
        npm.kill(signal)
        const hasEnded = () => npm.exitCode !== null || npm.signalCode !== null
        await until(hasEnded, { what: `the end of npm after ${signal}`, timeoutMs: 20_000 })
        await until(async () => !(await answers(port)), { what: `the end of the server after ${signal} to npm` })
      }
    },
    4 * START_WITHIN_MS,
  )
})
