// The process: reads the settings, starts the app, and stops it on a signal. Owns the exit codes and nothing else.
import { DataDirectoryError, JournalLockedError, startApp } from './app.ts'
import { type Config, ConfigError, describeSettings, readConfig } from './config.ts'
import { createLog, describe } from './lib/log.ts'

/** With this option, sample images are offered to this machine, unless SHEAF_SAMPLES_PORT is set. */
const SAMPLES_OPTION = '--samples'
/** A shutdown that hangs is cut short after this, because supervisors kill a process after ten seconds. */
const SHUTDOWN_LIMIT_MS = 9_000

function help(): string {
  const rows = describeSettings()
  const width = Math.max(...rows.map(({ name }) => name.length))
  const lines = rows.map(({ name, fallback, meaning }) => `  ${name.padEnd(width)}  ${meaning} [${fallback || 'none'}]`)
  return `Usage: npm start
       node --import ./server/require-node.js server/main.ts [--samples]

Serves sheaf: turns a list of URLs into one archive, and reports what happens while it happens.
--samples offers sample images for the page, to this machine only; npm start includes it.
Settings are environment variables; _MS are milliseconds, _BYTES bytes; defaults in brackets.

${lines.join('\n')}
`
}

async function main(args: string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(help())
    return 0
  }
  const unknown = args.filter((arg) => arg !== SAMPLES_OPTION)
  if (unknown.length > 0) return complain(`unknown argument: ${unknown.join(' ')} (see --help)`, 2)
  let config: Config
  try {
    config = readConfig({ offersSamples: args.includes(SAMPLES_OPTION) })
  } catch (error) {
    if (error instanceof ConfigError) return complain(error.message, 2)
    throw error
  }
  // Whoever knows an archive's id can download it, so logs show only a hash.
  const log = createLog(config.SHEAF_LOG, { hashed: 'archive' })
  const stopped = untilSignal()
  try {
    const app = await startApp(config, log)
    process.stdout.write(`sheaf is ready on ${app.url}\n`)
    log.info('stopping', { signal: await stopped })
    setTimeout(
      () => process.exit(complain('shutdown took too long; the next start continues', 1)),
      SHUTDOWN_LIMIT_MS,
    ).unref()
    await app[Symbol.asyncDispose]()
    return 0
  } catch (error) {
    if (error instanceof JournalLockedError) return complain(`${config.SHEAF_DATA_DIR} is in use by another sheaf`, 1)
    if (error instanceof DataDirectoryError) return complain(error.message, 1)
    return complain(`sheaf could not start: ${describe(error)}`, 1)
  }
}

/** Resolves with the first SIGTERM or SIGINT. A second one ends the process at once. */
function untilSignal(): Promise<string> {
  return new Promise((resolve) => {
    let count = 0
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (++count > 1) process.exit(1)
        resolve(signal)
      })
    }
  })
}

function complain(message: string, exitCode: number): number {
  process.stderr.write(`${message}\n`)
  return exitCode
}

process.exit(await main(process.argv.slice(2)))
