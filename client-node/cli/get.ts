// The get command: saves an archive, shows progress to a person or a program, and returns the exit code.
import { styleText } from 'node:util'
import type { EntryInput } from '#contracts/archive.ts'
import { newArchiveKey, RefusedError } from '#contracts/client.ts'
import type { ArchiveEvent } from '#contracts/events.ts'
import { entryInputsOf } from '#contracts/lists/list.ts'
import { fold, initialState } from '#contracts/state.ts'
import { createSheafClient, type SheafClient } from '../client.ts'
import { ArchiveAbortedError } from '../save.ts'
import { assertWritable } from '../store.ts'
import { type GetCommand, UsageError } from './args.ts'
import { createDisplay, displayModeOf } from './display.ts'
import { ignoredCountOf, ignoredLines, ListError, labelOf, readList } from './list.ts'
import { createRateMeter } from './rate.ts'
import { failureLine, printable, summaryLine, type View } from './render.ts'

export interface Terminal {
  stdin: NodeJS.ReadStream
  stdout: NodeJS.WriteStream
  stderr: NodeJS.WriteStream
  /** $TERM */
  term: string | undefined
  /** Aborts when the user interrupts the command. */
  signal: AbortSignal
}

/** A server that is gone for longer will probably not come back while the user waits. */
export const GIVE_UP_AFTER_MS = 60_000
/** Timeout of the last call. It is short because that call only saves the server work. */
const CANCEL_TIMEOUT_MS = 5_000

/** Resolves to the exit code, or throws the error that ended the command. */
export async function runGet(command: GetCommand, terminal: Terminal): Promise<number> {
  const { stdout, stderr, signal } = terminal
  const output = await resolveOutput(command, terminal)
  const { entries, ignoredCount } = await readEntries(command, terminal)
  if (ignoredCount > 0 && command.onEntryFailure === 'abort') {
    throw new ListError('no archive: a line was ignored, and --on-failure is abort')
  }

  const startedAt = performance.now()
  const meter = createRateMeter()
  let state = initialState
  let downloadedBytes = 0
  let lost: string | null = null
  let checking = false
  const view = (): View => {
    const elapsedMs = performance.now() - startedAt
    return { state, downloadedBytes, elapsedMs, downloadBytesPerSecond: meter.rate(elapsedMs), lost, checking }
  }

  await using client = createSheafClient({
    url: command.server,
    giveUpAfterMs: GIVE_UP_AFTER_MS,
    onConnectionChange: (reason) => {
      lost = reason
    },
  })
  // This call fails at once if there is no server. Without it the client would wait, as for a server that restarts.
  await client.serverInfo({ signal })

  const wanted = !command.quiet && !command.json
  using display = createDisplay(stderr, displayModeOf(stderr, wanted, terminal.term), view)
  const onEvent = async (event: ArchiveEvent) => {
    state = fold(state, event)
    if (command.json) await writeLine(stdout, JSON.stringify(event))
    else if (event.type === 'file-failed') {
      display.note(`${styleText('red', 'failed', { stream: stderr })} ${failureLine(event)}`)
    }
  }

  const archiveKey = newArchiveKey()
  const { name, format, compression, report, checksum, onEntryFailure } = command
  try {
    const saved = await client.saveArchive(
      { archiveKey, entries, name, format, compression, report, checksum, onEntryFailure },
      {
        signal,
        output,
        onEvent,
        giveUpAfterMs: GIVE_UP_AFTER_MS,
        onDownload: ({ receivedBytes }) => {
          downloadedBytes = receivedBytes
          meter.add(performance.now() - startedAt, receivedBytes)
        },
        onCheck: () => {
          checking = true
        },
      },
    )
    display.end()
    if (wanted) display.note(summaryLine(saved.path, saved.sizeBytes, view()))
    return saved.complete.failedEntries > 0 || ignoredCount > 0 ? 3 : 0
  } catch (error) {
    display.end()
    const over = error instanceof ArchiveAbortedError || error instanceof RefusedError
    if (!over) await cancelQuietly(client, archiveKey)
    throw error
  }
}

async function resolveOutput({ output }: GetCommand, { stdout }: Terminal) {
  if (output === null) return undefined
  if (output === '-') {
    if (stdout.isTTY) throw new UsageError('standard output is a terminal, which cannot take an archive', 'get')
    return stdout
  }
  try {
    await assertWritable(output)
  } catch (error) {
    throw new UsageError(printable(error instanceof Error ? error.message : String(error)), 'get')
  }
  return output
}

export interface GivenEntries {
  entries: EntryInput[]
  /** Lines of lists that did not become entries; standard error has them by now. */
  ignoredCount: number
}

/** The URLs of the command line, and those of its lists. */
export async function readEntries(
  { urls, lists, assumeHttps }: Pick<GetCommand, 'urls' | 'lists' | 'assumeHttps'>,
  { stdin, stderr, signal }: Terminal,
): Promise<GivenEntries> {
  const entries: EntryInput[] = [...urls]
  let ignoredCount = 0
  for (const path of lists) {
    const list = await readList(path, { stdin, signal, assumeHttps })
    const lines = ignoredLines(labelOf(path), list, { assumeHttps })
    if (lines.length > 0) await writeLine(stderr, lines.join('\n'))
    if (list.entries.length === 0) throw new ListError(`${labelOf(path)}: holds no URL`)
    for (const entry of entryInputsOf(list.entries)) entries.push(entry)
    ignoredCount += ignoredCountOf(list, { assumeHttps })
  }
  return { entries, ignoredCount }
}

/** Nobody needs this archive any more. If the call fails, the server ends the archive itself, as nobody watches it. */
async function cancelQuietly(client: SheafClient, archiveKey: string): Promise<void> {
  await client.cancelArchive(archiveKey, { signal: AbortSignal.timeout(CANCEL_TIMEOUT_MS) }).catch(() => {})
}

/** Resolves when the line is written, so that a slow reader slows the events down instead of filling memory. */
export function writeLine(stream: NodeJS.WritableStream, line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(`${line}\n`, (error) => (error ? reject(error) : resolve()))
  })
}
