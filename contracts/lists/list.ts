// Reads a list of URLs as people have them: lines, tables, JSON, HTML, Markdown. Pure; its time is linear in the text.
import type { EntryInput } from '../archive.ts'
import { type BareHost, Findings, type Ignored, type ListEntry } from './findings.ts'
import { isHtml, readHtml } from './html.ts'
import { isJson, isJsonLines, readJson, readJsonLines } from './json.ts'
import { linesOf } from './lines.ts'
import { createLineReader, isAria2, readUrls } from './plain.ts'
import { findTable, readTable } from './table.ts'

export type { BareHost, Ignored, ListEntry } from './findings.ts'

export type ListFormat = 'lines' | 'table' | 'json' | 'json-lines' | 'html' | 'aria2'

export interface ParsedList {
  /** What the list was taken for. */
  readonly format: ListFormat
  /** In the order of the list; the same URL may come several times. */
  readonly entries: readonly ListEntry[]
  /** What is not an entry, with the reason. The first 1 000. */
  readonly ignored: readonly Ignored[]
  readonly ignoredCount: number
  /** Hosts without a scheme; they are entries only if `assumeHttps` is set. The first 1 000. */
  readonly bareHosts: readonly BareHost[]
  readonly bareHostCount: number
  /** Entries whose URL came before. */
  readonly duplicateCount: number
}

export interface ListOptions {
  /** Take hosts without a scheme as https. @default false */
  readonly assumeHttps?: boolean
}

/**
 * Never throws. Each line that is neither blank nor a comment is an entry, a finding, or structure: a header row, marks
 * without words, tags without URLs, options of aria2.
 */
export function parseList(text: string, { assumeHttps = false }: ListOptions = {}): ParsedList {
  const findings = new Findings(assumeHttps)
  const format = read(text.startsWith('\ufeff') ? text.slice(1) : text, findings)
  const { entries, ignored, ignoredCount, bareHosts, bareHostCount } = findings
  const duplicateCount = entries.length - new Set(entries.map(({ url }) => url)).size
  return { format, entries, ignored, ignoredCount, bareHosts, bareHostCount, duplicateCount }
}

function read(text: string, findings: Findings): ListFormat {
  if (isJsonLines(text)) {
    readJsonLines(text, findings)
    return 'json-lines'
  }
  if (isJson(text)) {
    readJson(text, findings)
    return 'json'
  }
  if (isHtml(text)) {
    readHtml(text, 1, findings, (part, line) => readUrls(part, line, findings))
    return 'html'
  }
  const table = findTable(text)
  if (table !== null) {
    readTable(text, table, findings)
    return 'table'
  }
  const aria2 = isAria2(text)
  const readLine = createLineReader(findings, { aria2 })
  const format = aria2 ? 'aria2' : 'lines'
  for (const line of linesOf(text)) {
    if (findings.isFull) {
      findings.giveUp(line.number, line.text)
      return format
    }
    readLine(line)
  }
  return format
}

/** As a manifest has them. */
export function entryInputsOf(entries: readonly ListEntry[]): EntryInput[] {
  return entries.map(({ url, name }) => (name === undefined ? url : { url, name }))
}
