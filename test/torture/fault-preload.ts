// Is loaded into a server under test: its n-th file operation below one directory fails, or kills the process.
import { writeSync } from 'node:fs'
import fs, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { relative, sep } from 'node:path'

/**
 * - `EIO`, `ENOSPC`: the operation fails and does nothing. Only a close still closes.
 * - `kill`: the process is killed before the operation.
 * - `tear`: the process is killed in the middle of a write, or after any other operation.
 */
export type FaultMode = 'EIO' | 'ENOSPC' | 'kill' | 'tear'

export interface Fault {
  readonly mode: FaultMode
  /** 1 is the first operation. */
  readonly n: number
  /** Counts operations from the start of the process, or from the moment when the server is ready. */
  readonly from: 'start' | 'ready'
  readonly directory: string
}

type Operation = (...parameters: unknown[]) => Promise<unknown>

const onPaths = ['open', 'mkdir', 'rm', 'readdir'] as const
const onHandles = ['read', 'write', 'writev', 'truncate', 'datasync', 'sync', 'stat', 'close'] as const

/** There are many reads and many writes that are all alike. No fault is injected into later ones. */
const MAX_ALIKE = 30

const { TORTURE_FAULT } = process.env
if (TORTURE_FAULT) install(JSON.parse(TORTURE_FAULT) as Fault)

function install({ mode, n, from, directory }: Fault): void {
  let count = 0
  let counting = from === 'start'
  const alike: Record<string, number> = { read: 0, writev: 0 }

  if (!counting) {
    const write = process.stdout.write.bind(process.stdout) as (...parameters: unknown[]) => boolean
    process.stdout.write = (...parameters: unknown[]) => {
      if (String(parameters[0]).includes(' is ready on ')) counting = true
      return write(...parameters)
    }
  }
  process.on('exit', () => writeSync(2, `fault-count ${count}\n`))

  function end(): never {
    process.kill(process.pid, 'SIGKILL')
    // Nothing more may happen until the signal arrives.
    for (;;);
  }

  async function at(name: string, path: string, operation: () => Promise<unknown>, tear: () => void): Promise<unknown> {
    if (!counting) return operation()
    if (name in alike && ++alike[name]! > MAX_ALIKE) return operation()
    if (++count !== n) return operation()
    writeSync(2, `fault-hit ${name} ${relative(directory, path) || '.'}\n`)
    if (mode === 'kill') end()
    if (mode === 'tear') {
      if (name.startsWith('write')) tear()
      else await operation().catch(() => {})
      end()
    }
    if (name === 'close') await operation()
    throw Object.assign(new Error(`${mode}: injected, ${name}`), { code: mode, syscall: name })
  }

  const isBelow = (path: unknown): path is string =>
    typeof path === 'string' && (path === directory || path.startsWith(directory + sep))

  const originals = fs as unknown as Record<string, Operation>
  for (const name of onPaths) {
    const original = originals[name]!
    originals[name] = async (...parameters) => {
      const [path] = parameters
      if (!isBelow(path)) return original(...parameters)
      const result = await at(
        name,
        path,
        () => original(...parameters),
        () => {},
      )
      return name === 'open' ? watched(result as FileHandle, path) : result
    }
  }
  syncBuiltinESMExports()

  function watched(handle: FileHandle, path: string): FileHandle {
    const methods = handle as unknown as Record<string, Operation>
    for (const name of onHandles) {
      const original = methods[name]!.bind(handle)
      const value: Operation = (...parameters) =>
        at(
          name,
          path,
          () => original(...parameters),
          () => writeHalf(handle.fd, parameters),
        )
      Object.defineProperty(handle, name, { value })
    }
    return handle
  }
}

/** Writes the first half only, as a power failure may. */
function writeHalf(fd: number, [what, position]: unknown[]): void {
  const bytes = Buffer.concat([what].flat() as Uint8Array[])
  writeSync(fd, bytes, 0, Math.floor(bytes.length / 2), typeof position === 'number' ? position : null)
}
