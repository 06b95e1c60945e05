// Bounds how many files of the spool are open. Opening waits for a free descriptor, and idle files are closed for
// others.
import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { NoSpaceError } from '../../ports/no-space.ts'
import { UnavailableError } from '../../ports/unavailable.ts'

const RETRY_MS = 50
/** Descriptors become free as clients and origins leave. If none does for this long, waiting longer does not help. */
const PATIENCE_MS = 30_000

/** Repeats the attempt while no file descriptor is free, until patience ends. Throws the errors of the ports. */
export async function whenDescriptorsAllow<T>(
  attempt: () => Promise<T>,
  { signal, patienceMs = PATIENCE_MS }: { signal?: AbortSignal; patienceMs?: number } = {},
): Promise<T> {
  const startedMs = performance.now()
  for (;;) {
    signal?.throwIfAborted()
    try {
      return await attempt()
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'EMFILE' && code !== 'ENFILE') throw portError(error)
      if (performance.now() - startedMs > patienceMs) throw portError(error)
    }
    await sleep(RETRY_MS, undefined, { signal })
  }
}

/** Error codes of a disk, a network file system or the kernel that cannot work now. The file may still exist. */
const UNAVAILABLE: ReadonlySet<string> = new Set([
  ...['EIO', 'EROFS', 'ENODEV', 'ENXIO', 'EUCLEAN', 'EREMOTEIO', 'ESTALE', 'ETIMEDOUT', 'EHOSTDOWN', 'ENOTCONN'],
  ...['EMFILE', 'ENFILE', 'ENOMEM', 'EBUSY', 'EAGAIN', 'EACCES', 'EPERM'],
])

/** Translates an error of the file system into the ports' error types. Returns any other error as it is. */
function portError(error: unknown): unknown {
  const { code = '', message } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') return new NoSpaceError('no space left in the spool', { cause: error })
  return UNAVAILABLE.has(code) ? new UnavailableError(`the spool cannot: ${message}`, { cause: error }) : error
}

export async function asPort<T>(operation: Promise<T>): Promise<T> {
  try {
    return await operation
  } catch (error) {
    throw portError(error)
  }
}

/** A file that is open only while it holds one of the pool's places. */
export interface PooledFile {
  /** Runs `work` with the file open, after all earlier calls for this file. */
  use<T>(work: (handle: FileHandle) => Promise<T>): Promise<T>
  /** Closes the file after all earlier calls. Idempotent. */
  close(): Promise<void>
}

export interface FilePool {
  /** Opens nothing yet. `flags` are used for the first open; later ones use 'r+'. */
  file(path: string, flags: 'wx' | 'r+', signal: AbortSignal): PooledFile
}

interface Resting {
  /** Closes the file, so that its place can go to another one. */
  yieldPlace(): Promise<void>
}

/** At most `maxOpen` files are open at a time. An idle file stays open until another one needs its place. */
export function createFilePool(maxOpen: number): FilePool {
  let inUse = 0
  /** Open files that are not in use. The one that has rested longest is first. */
  const resting = new Set<Resting>()
  const waiting: (() => void)[] = []

  async function takePlace(): Promise<void> {
    if (inUse < maxOpen) {
      inUse++
      return
    }
    const [longest] = resting
    if (longest === undefined) return new Promise((resolve) => waiting.push(resolve))
    resting.delete(longest)
    await longest.yieldPlace()
  }

  function freePlace(): void {
    const next = waiting.shift()
    if (next === undefined) inUse--
    else next()
  }

  return {
    file(path, firstFlags, signal) {
      let flags: string = firstFlags
      let handle: FileHandle | null = null
      let closing: Promise<void> | null = null
      let turn: Promise<unknown> = Promise.resolve()
      const rest: Resting = { yieldPlace: closeHandle }

      async function closeHandle(): Promise<void> {
        const closed = handle
        handle = null
        await closed?.close()
      }

      async function ensureOpen(): Promise<FileHandle> {
        resting.delete(rest)
        if (handle !== null) return handle
        try {
          await takePlace()
          handle = await whenDescriptorsAllow(() => open(path, flags, 0o600), { signal })
          flags = 'r+'
          return handle
        } catch (error) {
          freePlace()
          throw error
        }
      }

      async function once<T>(work: (handle: FileHandle) => Promise<T>): Promise<T> {
        const opened = await ensureOpen()
        try {
          return await asPort(work(opened))
        } finally {
          if (waiting.length === 0) resting.add(rest)
          else await closeHandle().finally(freePlace)
        }
      }

      return {
        use(work) {
          if (closing !== null) return Promise.reject(new Error('the file is closed'))
          const result = turn.then(() => once(work))
          turn = result.catch(() => {})
          return result
        },
        close() {
          closing ??= turn.then(async () => {
            resting.delete(rest)
            if (handle !== null) await closeHandle().finally(freePlace)
          })
          return closing
        },
      }
    },
  }
}
