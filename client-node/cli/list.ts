// Reads a list from a file or from standard input, and words what was ignored in it. What a list is: contracts/lists.
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { decodeList } from '#contracts/lists/decode.ts'
import { type ListOptions, type ParsedList, parseList } from '#contracts/lists/list.ts'
import { printable } from './render.ts'

/** Far above what any server takes as a manifest, and far below what would hurt. */
const MAX_LIST_BYTES = 64 * 1024 * 1024
/** More lines would push everything else off the screen. */
const MAX_LINES_SHOWN = 20

/** The list cannot be read, or holds no URL; the message says where. */
export class ListError extends Error {
  override readonly name = 'ListError'
}

export interface ReadListOptions extends ListOptions {
  readonly stdin: Readable
  readonly signal?: AbortSignal
}

/** Reads a list from a file, or from `stdin` if the path is "-". */
export async function readList(path: string, { stdin, signal, ...options }: ReadListOptions): Promise<ParsedList> {
  const stream = path === '-' ? stdin : createReadStream(path)
  const chunks: Buffer[] = []
  let size = 0
  const onAbort = () => stream.destroy()
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    for await (const chunk of stream) {
      size += chunk.length
      if (size > MAX_LIST_BYTES) throw new ListError(`${labelOf(path)}: more than ${MAX_LIST_BYTES} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof ListError) throw error
    throw new ListError(`${labelOf(path)}: ${error instanceof Error ? error.message : error}`, { cause: error })
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
  return parseList(decodeList(Buffer.concat(chunks)), options)
}

/** How messages call the list. */
export const labelOf = (path: string) => (path === '-' ? 'standard input' : path)

/** Lines of the list that do not become entries. */
export function ignoredCountOf({ ignoredCount, bareHostCount }: ParsedList, { assumeHttps }: ListOptions): number {
  return ignoredCount + (assumeHttps ? 0 : bareHostCount)
}

/** One line for each thing that was ignored, in the order of the list, and one for those that are too many. */
export function ignoredLines(label: string, list: ParsedList, options: ListOptions): string[] {
  const bareHosts = options.assumeHttps ? [] : list.bareHosts
  const offered = bareHosts.map(({ line, text }) => ({ line, text, reason: 'no scheme (--assume-https takes it)' }))
  const found = [...list.ignored, ...offered].sort((one, other) => one.line - other.line)
  const shown = found.slice(0, MAX_LINES_SHOWN)
  const lines = shown.map(({ line, text, reason }) =>
    printable(`${label}: line ${line}: ignored: ${reason}${text === '' ? '' : `: ${text}`}`),
  )
  const more = ignoredCountOf(list, options) - shown.length
  return more > 0 ? [...lines, printable(`${label}: and ${more} more`)] : lines
}
