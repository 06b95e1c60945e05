// Reads lists of URLs. Pure but for readList; looks at the form of a list, and leaves the URLs to the server's verdict.
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import * as z from 'zod'
import { type EntryInput, entryInputSchema } from '#contracts/archive.ts'

/** Far above what any server takes as a manifest, and far below what would hurt. */
const MAX_LIST_BYTES = 64 * 1024 * 1024

/** The list cannot be read, or is no list; the message says where. */
export class ListError extends Error {
  override readonly name = 'ListError'
}

/** Reads a list from a file, or from `stdin` where the path is "-". */
export async function readList(path: string, stdin: Readable, signal?: AbortSignal): Promise<EntryInput[]> {
  const label = path === '-' ? 'standard input' : path
  const stream = path === '-' ? stdin : createReadStream(path)
  const chunks: Buffer[] = []
  let size = 0
  const onAbort = () => stream.destroy()
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    for await (const chunk of stream) {
      size += chunk.length
      if (size > MAX_LIST_BYTES) throw new ListError(`${label}: more than ${MAX_LIST_BYTES} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof ListError) throw error
    throw new ListError(`${label}: ${error instanceof Error ? error.message : error}`, { cause: error })
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
  return parseList(decode(Buffer.concat(chunks), label), label)
}

function decode(bytes: Uint8Array, label: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new ListError(`${label}: no UTF-8 text`, { cause })
  }
}

/** `label` is how messages call the list; a JSON list is known by its ".json", or by its "[" where it has no name. */
export function parseList(text: string, label: string): EntryInput[] {
  const json = /\.json$/i.test(label) || (label === 'standard input' && text.trimStart().startsWith('['))
  const entries = json ? parseJson(text, label) : parseLines(text, label)
  if (entries.length === 0) throw new ListError(`${label}: holds no URL`)
  return entries
}

function parseLines(text: string, label: string): EntryInput[] {
  const entries: EntryInput[] = []
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const where = `${label}:${index + 1}`
    if (line.includes('\0')) throw new ListError(`${where}: a NUL; this is not a list of URLs`)
    const [url = '', name, ...more] = line.split('\t').map((field) => field.trim())
    if (more.length > 0) throw new ListError(`${where}: more than one tab; a line is a URL, or a URL, a tab and a name`)
    entries.push(name === undefined ? url : { url, name })
  }
  return entries
}

const jsonListSchema = z.array(entryInputSchema)

function parseJson(text: string, label: string): EntryInput[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new ListError(jsonComplaint(text, label, cause), { cause })
  }
  const list = jsonListSchema.safeParse(value)
  if (list.success) return list.data
  const index = list.error.issues[0]?.path[0]
  if (typeof index !== 'number') throw new ListError(`${label}: no array of URLs`)
  throw new ListError(`${label}: item ${index + 1} is neither a URL nor { "url": ..., "name": ... }`)
}

/** V8 tells the place in the text, if at all, as "at position 17". */
function jsonComplaint(text: string, label: string, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const position = /at position (\d+)/.exec(message)?.[1]
  const upTo = position === undefined ? text : text.slice(0, Number(position))
  return `${label}:${upTo.split('\n').length}: no JSON: ${message.replace(/,? *(in JSON )?at position.*/, '')}`
}
