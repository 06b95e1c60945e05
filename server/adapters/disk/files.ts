// Open files of the spool, bounded: whoever finds no descriptor waits, and a file that rests makes way for another.
import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { NoSpaceError } from '../../ports/no-space.ts'
import { UnavailableError } from '../../ports/unavailable.ts'

const RETRY_MS = 50
/** Descriptors come back as clients and origins leave; where none does for so long, waiting helps nobody. */
const PATIENCE_MS = 30_000

/** Repeats what fails because the process or the machine has no descriptor left, until one is free. Errors are the ports'. */
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

/** What a disk, a network file system or the kernel says that cannot for now, though the file may well be there. */
const UNAVAILABLE: ReadonlySet<string> = new Set([
  ...['EIO', 'EROFS', 'ENODEV', 'ENXIO', 'EUCLEAN', 'EREMOTEIO', 'ESTALE', 'ETIMEDOUT', 'EHOSTDOWN', 'ENOTCONN'],
  ...['EMFILE', 'ENFILE', 'ENOMEM', 'EBUSY', 'EAGAIN', 'EACCES', 'EPERM'],
])

/** What the kernel says of its disk, as the types of the ports, if they know it; otherwise as it is. */
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

/** A file that is open only while it has one of the pool's places. */
export interface PooledFile {
  /** Runs `work` with the file open, after all that was asked of this file before. */
  use<T>(work: (handle: FileHandle) => Promise<T>): Promise<T>
  /** After all that was asked before. Idempotent. */
  close(): Promise<void>
}

export interface FilePool {
  /** Opens nothing yet. `flags` are used for the first open; later ones use 'r+'. */
  file(path: string, flags: 'wx' | 'r+', signal: AbortSignal): PooledFile
}

interface Resting {
  /** Gives its place up. */
  yieldPlace(): Promise<void>
}

/** At most `maxOpen` files at a time: a place is held for sure only while the file is being used. */
export function createFilePool(maxOpen: number): FilePool {
  let inUse = 0
  /** The one that rests longest first. */
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
