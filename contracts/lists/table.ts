// Reads tables that have a header row: finds the columns of URLs and names by what the header calls them.
import { isBareHost } from './bare-host.ts'
import { type Findings, reasons } from './findings.ts'
import { createLineCounter, type Line } from './lines.ts'
import { readText } from './plain.ts'
import { HTTP, readReference } from './reference.ts'
import { type Cell, holdsSeveral, MAX_ROW_LENGTH, type Row, readRow, type Separator, separators } from './rows.ts'
import { trimAll } from './text.ts'

export interface Table {
  readonly separator: Separator
  readonly columns: number
  readonly urlColumn: number
  /** -1 if there is none. */
  readonly nameColumn: number
  /** Where the header row ends. */
  readonly start: number
}

/** Only letters and digits are compared, in lower case. The first of these that is there is taken. */
const URL_HEADERS = ['url', 'urls', 'downloadurl', 'fileurl', 'imageurl', 'href', 'link', 'links', 'uri', 'address']
const NAME_HEADERS = ['filename', 'name', 'file', 'path', 'filepath', 'out', 'output', 'saveas', 'target', 'title']
/** A longer first line is not a header. */
const MAX_HEADER_LENGTH = 1024

const headersOf = (cells: readonly Cell[]) => cells.map(({ text }) => text.toLowerCase().replaceAll(/[^a-z0-9]/g, ''))

function columnOf(headers: readonly string[], known: readonly string[]): number {
  const name = known.find((candidate) => headers.includes(candidate))
  return name === undefined ? -1 : headers.indexOf(name)
}

/** A header row is the first line, holds no URL, and names a column of URLs or stands above one. */
export function findTable(text: string): Table | null {
  const first = lineAt(text, 0)
  if (first === null) return null
  const line = text.slice(first.start, first.end)
  if (line.length > MAX_HEADER_LENGTH || line.includes('://')) return null
  for (const separator of separators) {
    const cells = readRow(text, first.start, separator)?.cells
    if (cells === undefined || (cells.length < 2 && separator !== ',')) continue
    const headers = headersOf(cells)
    const named = columnOf(headers, URL_HEADERS)
    const urlColumn = named !== -1 ? named : urlColumnBelow(text, first.end, separator, cells.length)
    if (urlColumn === -1 || isBareHost(cells[urlColumn]!.text)) continue
    const known = columnOf(headers, NAME_HEADERS)
    const nameColumn = known === -1 && cells.length === 2 ? 1 - urlColumn : known
    return { separator, columns: cells.length, urlColumn, nameColumn, start: first.end }
  }
  return null
}

interface Span {
  readonly start: number
  readonly end: number
}

/** The next line from `start` that is not blank and not a comment. */
function lineAt(text: string, start: number): Span | null {
  const lines = /[^\r\n]+/g
  lines.lastIndex = start
  for (let found = lines.exec(text); found !== null; found = lines.exec(text)) {
    const line = trimAll(found[0].slice(0, MAX_ROW_LENGTH))
    if (line !== '' && !line.startsWith('#')) return { start: found.index, end: found.index + found[0].length }
  }
  return null
}

/** The column of the one URL in the row below, if that has as many cells as the header; otherwise -1. */
function urlColumnBelow(text: string, start: number, separator: Separator, columns: number): number {
  const below = lineAt(text, start)
  const cells = below && readRow(text, below.start, separator)?.cells
  if (!cells || columns < 2 || cells.length !== columns) return -1
  const urls = cells.filter((cell) => HTTP.test(cell.text))
  return urls.length === 1 ? cells.indexOf(urls[0]!) : -1
}

export function readTable(text: string, table: Table, findings: Findings): void {
  const lineOf = createLineCounter(text)
  let at = table.start
  // Nothing separates the cells of one column, so separators belong to the URLs.
  const isOneColumn = table.columns === 1
  for (let line = lineAt(text, at); line !== null; line = lineAt(text, at)) {
    const row = isOneColumn ? null : readRow(text, line.start, table.separator)
    at = row?.end ?? line.end
    const read = { number: lineOf(line.start), text: trimAll(text.slice(line.start, at)) }
    if (findings.isFull) return findings.giveUp(read.number, read.text)
    if (row === null) readText(read.text, read.number, findings)
    else readCells(row, read, table, findings)
  }
}

function readCells({ cells }: Row, line: Line, { columns, urlColumn, nameColumn }: Table, findings: Findings): void {
  while (cells.length > columns && cells.at(-1)!.text === '') cells.pop()
  const text = cells[urlColumn]?.text ?? ''
  if (cells.length > columns) findings.ignore(line.number, line.text, reasons.moreCells)
  else if (holdsSeveral(text) || (text === '' && line.text.includes('://'))) readText(line.text, line.number, findings)
  else if (text === '') findings.ignore(line.number, line.text, reasons.noUrl)
  else readReference({ line: line.number, text, name: cells[nameColumn]?.text ?? '' }, findings)
}
