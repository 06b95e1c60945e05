// Reads HTML, and XML that is like it: what attributes link to, and URLs in the text outside of links. Builds no tree.
import { decodeEntities } from './entities.ts'
import { type Findings, reasons } from './findings.ts'
import { createLineCounter, linesOf } from './lines.ts'
import { readReference } from './reference.ts'
import { createFinder, matchEnd, trimAll } from './text.ts'

/** A document that begins as HTML or XML do. */
const BEGINS = /^\s*<(?:!doctype\s|\?xml\s|!--|[a-z][a-z0-9-]*(?:\s|\/?>))/i
/** A document says that it is HTML within so many characters. */
const HEAD_LENGTH = 4096
/** A tag in a line of something else. */
const TAG = /<\/?[a-z][a-z0-9]*(?:\s[^<>]*)?\/?>/i

export function isHtml(text: string): boolean {
  const head = text.slice(0, HEAD_LENGTH)
  return BEGINS.test(head) || /<(?:!doctype\s+html|html)[\s>]/i.test(head)
}

export const holdsTag = (line: string) => line.includes('<') && TAG.test(line)

/** The text of these elements is not shown, and holds no tags. */
const RAW = new Set(['script', 'style', 'title'])

export type TextReader = (text: string, line: number) => void

/** `readText` gets the text that no link encloses, line by line and decoded. */
export function readHtml(text: string, firstLine: number, findings: Findings, readText: TextReader): void {
  const lineOf = createLineCounter(text)
  const next = createFinder(text)
  let textFrom = 0
  let at = 0
  let inLink = false
  const readUntil = (end: number) => {
    const run = text.slice(textFrom, end)
    if (inLink || run.trim() === '') return
    const line = lineOf(textFrom) + firstLine - 1
    for (const part of linesOf(run, line)) {
      if (findings.isFull) return findings.giveUp(part.number, part.text)
      readText(decodeEntities(part.text), part.number)
    }
  }
  for (let open = next('<', 0); open !== -1; open = next('<', at)) {
    const mark = markupAt(text, open)
    if (mark === null) {
      at = open + 1
      continue
    }
    readUntil(open)
    if (findings.isFull) return findings.giveUp(lineOf(open) + firstLine - 1, text.slice(open, open + 200))
    const line = lineOf(open) + firstLine - 1
    if (mark.isUnclosed) findings.ignore(line, text.slice(open, open + 200), reasons.unclosed)
    else if (mark.tag !== null) readTag(mark.tag, line, findings)
    if (mark.name === 'a') inLink = mark.tag?.href !== undefined
    at = mark.tag !== null && RAW.has(mark.name) ? rawEnd(text, mark.end, mark.name) : mark.end
    textFrom = at
  }
  readUntil(text.length)
}

interface Tag {
  readonly name: string
  readonly href: string | undefined
  readonly src: string | undefined
  readonly download: string | undefined
}

interface Markup {
  /** Of the element that begins or ends here, in lower case; nothing for comments. */
  readonly name: string
  /** Null for what is not a start tag. */
  readonly tag: Tag | null
  readonly end: number
  readonly isUnclosed: boolean
}

/** Null if the "<" at `open` is text. */
function markupAt(text: string, open: number): Markup | null {
  // Much faster than the regex below, and most of what is not markup ends here.
  if (!/[a-z/!?]/i.test(text[open + 1] ?? '')) return null
  if (text.startsWith('<!--', open)) return until(text, '-->', open + 4, '')
  const [, mark, name = ''] = /^<([/!?]?)([a-z][a-z0-9:-]*)?/i.exec(text.slice(open, open + 64))!
  if (mark === '!' || mark === '?') return until(text, '>', open, '')
  // "<https://example.org/>" is not a tag.
  if (name === '' || name.endsWith(':')) return null
  if (mark === '/') return until(text, '>', open, name.toLowerCase())
  return startTag(text, open + 1 + name.length, name.toLowerCase())
}

function until(text: string, closer: string, from: number, name: string): Markup {
  const place = text.indexOf(closer, from)
  const isUnclosed = place === -1
  return { name, tag: null, end: isUnclosed ? text.length : place + closer.length, isUnclosed }
}

const SPACE = /[\s/]*/y
const ATTRIBUTE = /([^\s/>=][^\s/>=]*)\s*(=)?\s*/y

/** Attributes as HTML has them: in quotes of both kinds or without, in any order; the first of a name counts. */
function startTag(text: string, from: number, name: string): Markup {
  const values: Record<'href' | 'src' | 'download', string | undefined> = {
    href: undefined,
    src: undefined,
    download: undefined,
  }
  let at = from
  while (at < text.length) {
    at = matchEnd(SPACE, text, at)
    if (text[at] === '>') return { name, tag: { name, ...values }, end: at + 1, isUnclosed: false }
    ATTRIBUTE.lastIndex = at
    const found = ATTRIBUTE.exec(text)
    if (found === null) at++
    else {
      at = ATTRIBUTE.lastIndex
      const key = found[1]!.toLowerCase()
      const value = found[2] === undefined ? { from: at, to: at, end: at } : valueAt(text, at)
      if (value === null) break
      at = value.end
      if (key === 'href' || key === 'src' || key === 'download') values[key] ??= text.slice(value.from, value.to)
    }
  }
  return { name, tag: null, end: text.length, isUnclosed: true }
}

const UNQUOTED = /[^\s>]*/y

/** Null if its quote does not end. */
function valueAt(text: string, at: number): { from: number; to: number; end: number } | null {
  const quote = text[at]
  if (quote === '"' || quote === "'") {
    const close = text.indexOf(quote, at + 1)
    return close === -1 ? null : { from: at + 1, to: close, end: close + 1 }
  }
  const end = matchEnd(UNQUOTED, text, at)
  return { from: at, to: end, end }
}

function rawEnd(text: string, from: number, name: string): number {
  const closing = new RegExp(`</${name}`, 'gi')
  closing.lastIndex = from
  return closing.exec(text)?.index ?? text.length
}

/** A "base" is not a link. */
function readTag({ name, href, src, download }: Tag, line: number, findings: Findings): void {
  if (name === 'base') return
  for (const value of [href, src]) {
    const text = trimAll(decodeEntities(value ?? ''))
    const given = name === 'a' ? decodeEntities(download ?? '') : ''
    if (text !== '') readReference({ line, text, name: given, inHtml: true }, findings)
  }
}
