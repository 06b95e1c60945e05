// Decides where a URL ends that stands in other text: among quotes, brackets, commas and full stops.
import { MAX_URL_LENGTH } from '../archive.ts'
import { type Finder, matchEnd } from './text.ts'

/** These enclose a URL, and only their counterpart ends it. Such a URL may hold spaces. */
const QUOTES: Readonly<Record<string, string>> = {
  '"': '"',
  '<': '>',
  '`': '`',
  "'": "'",
  '“': '”',
  '”': '”',
  '„': '“”',
  '‘': '’',
  '‚': '‘’',
  '«': '»',
  '»': '«',
  '‹': '›',
  '「': '」',
  '『': '』',
}
/** Brackets are parts of URLs if they are in pairs: "https://en.wikipedia.org/wiki/Sheaf_(mathematics)". */
const BRACKETS: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}', '（': '）', '【': '】', '《': '》' }
const closing = new Map(Object.values(BRACKETS).map((bracket, index) => [bracket, index]))
const opening = new Map(Object.keys(BRACKETS).map((bracket, index) => [bracket, index]))
/** No URL holds these as they are. */
const ENDS = /[\s\u0000-\u0020\u007f"<>`“”„«»‹›「」『』\u200b\u2060\ufeff]/
/** Most of a URL consists of these, and they never end it. */
const PLAIN = /[\w/.:?&=%#~+*@$!\\^-]*/y
/** The complement of `ENDS`. */
const NO_END = /[^\s\u0000-\u0020\u007f"<>`“”„«»‹›「」『』\u200b\u2060\ufeff]*/y
/** They end a URL if another one follows at once. */
const SEPARATORS = /^[,;|，；、]https?:\/\//i
/** They close a sentence or a part of it, and hardly ever a URL. */
const ALWAYS_CUT = '.,;\\。，、；'
/** They close a sentence, too, but may also close a URL that stands alone. */
const CUT_IN_PROSE = `${ALWAYS_CUT}:!?：！？…`
/** Markdown's emphasis is cut behind a URL if it stands before it, too. */
const EMPHASIS = '*_~'

export interface Extent {
  /** Of the URL. */
  readonly end: number
  /** Of what encloses it, too. */
  readonly after: number
  readonly isQuoted: boolean
}

export interface Place {
  readonly text: string
  readonly next: Finder
  /** Where the scheme begins. */
  readonly start: number
  /** Where the scheme's "://" stands. */
  readonly colon: number
  /** Letters stand before it. */
  readonly inProse: boolean
}

export function extentOf({ text, next, start, colon, inProse }: Place): Extent {
  const opener = text[start - 1] ?? ''
  const quoted = quotedEnd(text, next, start, colon)
  if (quoted !== null) return { end: quoted, after: quoted + 1, isQuoted: true }
  const after = plainEnd(text, colon + 3, QUOTES[opener] ?? (opener === '|' ? '|' : ''))
  let end = after
  const isCut = (inProse ? CUT_IN_PROSE : ALWAYS_CUT) + (EMPHASIS.includes(opener) ? opener : '')
  while (end > colon + 3 && isCut.includes(text[end - 1]!)) end--
  return { end, after, isQuoted: false }
}

/** Null if it is not quoted, or if the quote holds more than this URL. */
function quotedEnd(text: string, next: Finder, start: number, colon: number): number | null {
  const opener = text[start - 1] ?? ''
  const closers = QUOTES[opener]
  if (closers === undefined) return null
  let end = -1
  for (const closer of closers) {
    const place = next(closer, colon + 3)
    if (place !== -1 && (end === -1 || place < end)) end = place
  }
  const isBefore = (place: number) => place !== -1 && place < end
  if (end === -1 || (!closers.includes(opener) && isBefore(next(opener, start)))) return null
  // A second URL is a part of the first one if nothing separates them.
  return isBefore(next('://', colon + 3)) && /\s/.test(text.slice(start, end)) ? null : end
}

function plainEnd(text: string, from: number, closer: string): number {
  const depths = new Array<number>(closing.size).fill(0)
  let at = from
  for (;;) {
    // It is not a URL whatever its brackets are, so only its end matters.
    if (at - from > MAX_URL_LENGTH) return matchEnd(NO_END, text, at)
    at = matchEnd(PLAIN, text, at)
    const character = text[at]
    if (character === undefined || closer.includes(character) || ENDS.test(character)) return at
    const open = opening.get(character)
    if (open !== undefined) depths[open]!++
    const close = closing.get(character)
    if (close !== undefined && depths[close]!-- === 0) return at
    if (SEPARATORS.test(text.slice(at, at + 9))) return at
    at++
  }
}
