// Splits rows of a table into cells (RFC 4180, other separators too), and decides if a line is a row with one URL.

import { isBareHost } from './bare-host.ts'
import { HTTP } from './reference.ts'
import { fileOf, urlsIn } from './scan.ts'
import { hasExtension, matchEnd, trimAll } from './text.ts'

export interface Cell {
  /** Without its quotes and the spaces around it. */
  readonly text: string
  readonly isQuoted: boolean
  /** As it stands there. */
  readonly raw: string
}

export interface Row {
  readonly cells: Cell[]
  /** Where it ends: at a line end or at the end of the text. */
  readonly end: number
}

export const separators = ['\t', ';', ','] as const
export type Separator = (typeof separators)[number]

/** Room for the longest URL and the longest name, and for some more. */
export const MAX_ROW_LENGTH = 32_768
const MAX_CELLS = 256

/** The row that begins at `start`; null if its quotes are broken or it is too large to be one. */
export function readRow(text: string, start: number, separator: Separator): Row | null {
  const cells: Cell[] = []
  let at = start
  for (;;) {
    const end = cellEnd(text, at, separator)
    if (end === -1 || end - start > MAX_ROW_LENGTH || cells.length === MAX_CELLS) return null
    cells.push(cellOf(text.slice(at, end)))
    if (text[end] !== separator) return { cells, end }
    at = end + 1
  }
}

/** A cell without quotes. */
const unquoted: Readonly<Record<Separator, RegExp>> = { '\t': /[^\t\r\n]*/y, ';': /[^;\r\n]*/y, ',': /[^,\r\n]*/y }

/** -1 if the cell has a quote that does not end, or more behind it. */
function cellEnd(text: string, start: number, separator: Separator): number {
  let at = start
  while (text[at] === ' ') at++
  if (text[at] !== '"') return matchEnd(unquoted[separator], text, at)
  do {
    at = text.indexOf('"', at + 1)
    if (at === -1 || at - start > MAX_ROW_LENGTH) return -1
    at++
  } while (text[at] === '"')
  while (text[at] === ' ') at++
  const behind = text[at]
  return behind === undefined || behind === separator || behind === '\n' || behind === '\r' ? at : -1
}

/** CSV does not know these quotes, but people paste them into tables. */
const WRAPPERS = ['<>', "''", '“”', '„“', '‘’', '«»', '``']

function cellOf(raw: string): Cell {
  const text = trimAll(raw)
  const inside = trimAll(text.slice(1, -1))
  if (text.length < 2) return { text, isQuoted: false, raw }
  if (text.startsWith('"') && text.endsWith('"')) return { text: inside.replaceAll('""', '"'), isQuoted: true, raw }
  const isQuoted = WRAPPERS.includes(text[0]! + text.at(-1))
  return { text: isQuoted ? inside : text, isQuoted, raw }
}

export interface NamedUrl {
  readonly url: string
  readonly name: string
}

/** A line that is a row with exactly one URL or bare host, and something beside it; null for any other line. */
export function namedUrlOf(line: string): NamedUrl | null {
  if (line.length > MAX_ROW_LENGTH) return null
  let best: NamedUrl | null = null
  for (const separator of separators) {
    if (!line.includes(separator)) continue
    const cells = readRow(line, 0, separator)?.cells
    const found = cells && rowOf(cells, separator)
    // A separator inside a name makes the URL's cell longer, or leaves it as it is.
    if (found && (best === null || found.url.length < best.url.length)) best = found
    // A tab is always a separator.
    if (best !== null && separator === '\t') return best
  }
  return best
}

/** If a URL stands in a cell with other text, what looks like a host may be a part of that URL. */
function hostsAmong(cells: readonly Cell[]): Cell[] {
  return cells.some(({ text }) => text.includes('://')) ? [] : cells.filter(({ text }) => isBareHost(text))
}

function rowOf(cells: readonly Cell[], separator: Separator): NamedUrl | null {
  const urls = cells.filter(({ text }) => HTTP.test(text))
  const [cell, another] = urls.length > 0 ? urls : hostsAmong(cells)
  if (cell === undefined || another !== undefined || !isWhole(cell)) return null
  const place = cells.indexOf(cell)
  const next = cells[place + 1]
  if (separator !== '\t' && !cell.isQuoted && next !== undefined && isContinuation(cell.text, next)) return null
  const others = cells.filter((other) => other !== cell && other.text !== '' && !/^#(?:\s|$)/.test(other.text))
  if (others.length === 0) return null
  return { url: cell.text, name: nameAmong(others) }
}

/** One URL and nothing else: no comment, no second URL, no sentence. */
function isWhole({ text, isQuoted }: Cell): boolean {
  if (/\s#/.test(text) || holdsSeveral(text)) return false
  return isQuoted || !/\s/.test(text) || hasExtension(text)
}

/** One URL inside another is a part of it. */
export function holdsSeveral(text: string): boolean {
  return text.indexOf('://') !== text.lastIndexOf('://') && urlsIn(text).length > 1
}

/** If a row has several other cells, one that looks like a file's name is the name, and otherwise none is. */
function nameAmong(others: readonly Cell[]): string {
  if (others.length === 1) return others[0]!.text
  const files = others.filter(({ text }) => hasExtension(text))
  return files.length === 1 ? files[0]!.text : ''
}

/**
 * True if the separator may be a part of the URL, as in "/w_100,h_50/x.png", "?box=1,2,3,4", "/story-1,1518.html" and
 * ";jsessionid=1".
 */
function isContinuation(url: string, { text, raw, isQuoted }: Cell): boolean {
  if (isQuoted || text === '' || /\s/.test(raw)) return false
  if (/[=?]/.test(text) || /&#?\w+$/.test(url)) return true
  if (url.includes('?') || url.includes('#')) return !hasExtension(text)
  const isFile = hasExtension(fileOf(HTTP.test(url) ? url : `https://${url}`))
  return !isFile && (/[/&%]/.test(text) || /^[\d.-]+(?:\.html?)?$/.test(text))
}
