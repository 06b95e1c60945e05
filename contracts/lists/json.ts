// Reads JSON: an array of URLs or of objects with a url and a name, or one value a line. A broken item costs itself.
import { type Findings, reasons } from './findings.ts'
import { createLineCounter, linesOf } from './lines.ts'
import { readReference } from './reference.ts'
import { matchEnd, trimAll } from './text.ts'

/** More is not needed to tell JSON from other lists. */
const HEAD_LENGTH = 2048
/** No URL and name, whatever else is told of a file, needs more. */
const MAX_ITEM_LENGTH = 1024 * 1024
/** After so many items that do not end, the text is not JSON: each costs a reading of `MAX_ITEM_LENGTH`. */
const MAX_UNENDED = 16

export function isJson(text: string): boolean {
  const head = text.slice(0, HEAD_LENGTH).trimStart()
  // "[name](url)" and "[id]: url" are Markdown.
  if (/^\[[^\]\n]*\][(:[]/.test(head)) return false
  return /^(?:\[\s*["{[]|\{\s*["}])/.test(head) || /^\[\s*\]\s*$/.test(head)
}

/** One object a line. Such a text is read by lines, so that a broken object does not swallow the next one. */
export function isJsonLines(text: string): boolean {
  for (const line of linesOf(text.slice(0, HEAD_LENGTH))) {
    if (line.text.trim() !== '') return line.text.trimStart().startsWith('{') && parsed(line.text) !== null
  }
  return false
}

export function readJsonLines(text: string, findings: Findings): void {
  for (const { number, text: line } of linesOf(text)) {
    const trimmed = trimAll(line)
    if (findings.isFull) return findings.giveUp(number, line)
    if (trimmed !== '' && !trimmed.startsWith('#')) readItem(trimmed, number, findings)
  }
}

export function readJson(text: string, findings: Findings): void {
  const lineOf = createLineCounter(text)
  let isInArray = false
  let unended = 0
  let at = 0
  for (;;) {
    at = matchEnd(BETWEEN, text, at)
    const character = text[at]
    if (character === undefined) return
    if (findings.isFull) return findings.giveUp(lineOf(at), text.slice(at, lineEnd(text, at)))
    if (character === (isInArray ? ']' : '[')) {
      isInArray = !isInArray
      at++
      continue
    }
    const end = valueEnd(text, at)
    const item = text.slice(at, end ?? lineEnd(text, at))
    if (end !== null) readItem(item, lineOf(at), findings)
    else if (++unended < MAX_UNENDED) findings.ignore(lineOf(at), item, reasons.json)
    else return findings.ignore(lineOf(at), item, reasons.jsonRest)
    at += item.length
  }
}

const BETWEEN = /[\s,\ufeff]*/y
const WORD = /[^\s,[\]{"]+/y
const LINE = /[^\r\n]*/y
/** Inside of brackets, only brackets and strings decide where an item ends. */
const STRUCTURE = /[[\]{}"]/g

/** Null if it does not end. */
function valueEnd(text: string, start: number): number | null {
  if (text[start] === '"') return stringEnd(text, start)
  if (text[start] !== '{' && text[start] !== '[') return Math.max(matchEnd(WORD, text, start), start + 1)
  let depth = 0
  STRUCTURE.lastIndex = start
  for (let found = STRUCTURE.exec(text); found !== null; found = STRUCTURE.exec(text)) {
    if (found.index - start > MAX_ITEM_LENGTH) return null
    if (found[0] === '"') {
      const end = stringEnd(text, found.index)
      if (end === null) return null
      STRUCTURE.lastIndex = end
    } else if (found[0] === '{' || found[0] === '[') depth++
    else if (--depth === 0) return found.index + 1
  }
  return null
}

/** A string has no line end inside (RFC 8259 section 7). */
function stringEnd(text: string, start: number): number | null {
  for (let at = start + 1; at < text.length; at++) {
    const character = text[at]
    if (character === '"') return at + 1
    if (character === '\\') at++
    else if (character === '\n' || character === '\r') return null
  }
  return null
}

const lineEnd = (text: string, from: number) => matchEnd(LINE, text, from)

function parsed(text: string): { value: unknown } | null {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return null
  }
}

function readItem(text: string, line: number, findings: Findings): void {
  const item = parsed(text) ?? (text.endsWith(',') ? parsed(text.slice(0, -1)) : null)
  if (item === null) return findings.ignore(line, text, reasons.json)
  if (typeof item.value === 'string') return readReference({ line, text: trimAll(item.value) }, findings)
  const fields = fieldsOf(item.value)
  const url = fields?.url ?? fields?.href ?? fields?.link
  if (typeof url !== 'string') return findings.ignore(line, text, reasons.jsonItem)
  const name = fields?.name ?? fields?.filename ?? fields?.fileName ?? fields?.path ?? ''
  if (typeof name !== 'string') return findings.ignore(line, text, reasons.jsonName)
  readReference({ line, text: trimAll(url), name }, findings)
}

function fieldsOf(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null
}
