// Reads the box of URLs: text in, entries out. Judges no URL: a bad one fails as its entry, with the server's reason.
import type { EntryInput } from '#contracts/archive.ts'

/** One entry a line, optionally a tab and its name in the archive; blank lines and those starting with "#" are skipped. */
export function parseList(text: string): EntryInput[] {
  const entries: EntryInput[] = []
  for (const raw of text.split(/\r\n|\r|\n/)) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const tab = line.indexOf('\t')
    if (tab === -1) entries.push(line)
    else entries.push({ url: line.slice(0, tab).trimEnd(), name: line.slice(tab + 1).trim() })
  }
  return entries
}
