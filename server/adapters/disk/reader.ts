// Reads the files of one archive in the spool. An archive may have several readers; each keeps few files open.
// Without `readRecent` W1 takes 1.3 times the CPU time (`npm run bench -- W1 --rounds 7`): a download that is once behind then
// stays behind, and finds 2 of 140 recent writes in memory.
import { readSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { LOG, type SpoolReader } from '../../ports/spool.ts'
import { asPort, whenDescriptorsAllow } from './files.ts'

export function openReader(folder: string, openLogs: ReadonlyMap<string, FileHandle>): SpoolReader {
  // Only the log and the part that was read last stay open, because a reader walks the parts in order.
  const handles = new Map<string, FileHandle>()
  /** Reads take turns, so that no read closes the file of another. */
  let turn: Promise<unknown> = Promise.resolve()
  let reading = 0
  let isOpening = false
  const closed = new AbortController()

  async function handleOf(file: string): Promise<FileHandle> {
    if (closed.signal.aborted) throw new Error('the reader is closed')
    const known = handles.get(file)
    if (known !== undefined) return known
    const handle = await whenDescriptorsAllow(() => open(join(folder, file), 'r'), closed)
    handles.set(file, handle)
    if (file !== LOG) await closeAll((other) => other !== LOG && other !== file)
    return handle
  }

  /** Uses the writer's handle of a log that is being written. Opens a handle of its own for the time after that. */
  function borrowedLog(): FileHandle | undefined {
    const log = openLogs.get(folder)
    if (log === undefined || isOpening) return log
    isOpening = true
    turn = turn.then(() => handleOf(LOG)).catch(() => {})
    return log
  }

  async function closeAll(matches: (file: string) => boolean): Promise<void> {
    const closing = [...handles].filter(([file]) => matches(file))
    for (const [file] of closing) handles.delete(file)
    await Promise.all(closing.map(([, handle]) => handle.close()))
  }

  return {
    read(file, offset, target) {
      reading++
      const result = turn.then(async () => {
        try {
          const handle = await handleOf(file)
          return (await asPort(handle.read(target, 0, target.length, offset))).bytesRead
        } finally {
          // This must happen before the caller continues, because it may call `readRecent` next.
          reading--
        }
      })
      turn = result.catch(() => {})
      return result
    },
    // A synchronous read from the page cache takes a few microseconds. By way of a thread it takes a hundred.
    readRecent(file, offset, target) {
      if (reading > 0 || closed.signal.aborted) return null
      const handle = handles.get(file) ?? (file === LOG ? borrowedLog() : undefined)
      if (handle === undefined) return null
      return readSync(handle.fd, target, 0, target.length, offset)
    },
    async [Symbol.asyncDispose]() {
      closed.abort()
      await turn
      await closeAll(() => true)
    },
  }
}
