// Writes one logfmt line per occurrence to stderr. No domain words; callers never log keys, queries or bodies.
import { createHash } from 'node:crypto'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'
export type LogFields = Record<string, string | number | boolean | null | undefined>

export interface Log {
  /** Fields may be a function, which is called only if the line is written. */
  debug(message: string, fields?: LogFields | (() => LogFields)): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

const order: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent']

export interface LogOptions {
  /** @default standard error */
  write?: (line: string) => void
  /** The value of this field is secret. The start of its SHA-256 is written instead, so that lines can be matched. */
  hashed?: string
}

const HASH_DIGITS = 12

export function createLog(level: LogLevel, options: LogOptions = {}): Log {
  const { write = (line) => process.stderr.write(line), hashed } = options
  const reported = (key: string, value: unknown) =>
    key === hashed ? createHash('sha256').update(String(value)).digest('hex').slice(0, HASH_DIGITS) : String(value)
  const lowest = order.indexOf(level)
  const at =
    (own: LogLevel) =>
    (message: string, fields: LogFields | (() => LogFields) = {}) => {
      if (order.indexOf(own) < lowest) return
      const pairs = Object.entries(typeof fields === 'function' ? fields() : fields).filter(
        ([, value]) => value !== undefined,
      )
      const text = pairs.map(([key, value]) => ` ${key}=${quoted(reported(key, value))}`).join('')
      write(`${new Date().toISOString()} ${own} ${message}${text}\n`)
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** JSON quoting also escapes newlines and control characters, which could forge lines or control a terminal. */
function quoted(value: string): string {
  return /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value)
}

/** Describes a thrown value for a log line: with its causes, without its stack. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const own = `${error.name}: ${error.message}`
  return error.cause === undefined ? own : `${own} (${describe(error.cause)})`
}
