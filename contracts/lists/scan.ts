// Finds the URLs in a text, with the names that Markdown links give them. Reads the text once, whatever it holds.
import { extentOf } from './extent.ts'
import { createFinder, hasExtension, strip } from './text.ts'

export interface FoundUrl {
  /** Where it begins, its link text included. */
  readonly start: number
  /** Where the URL ends. */
  readonly end: number
  /** Where what encloses it ends. */
  readonly after: number
  readonly url: string
  /** In lower case. */
  readonly scheme: string
  /** The character before it, or nothing. */
  readonly opener: string
  /** Undefined if it has none. */
  readonly name: string | undefined
  readonly isQuoted: boolean
}

/** More URLs in one line are not looked for. It is five times what a server takes in one archive by default. */
export const MAX_URLS = 100_000
const MAX_SCHEME_LENGTH = 32
const SCHEME_CHARACTER = /[a-z0-9+.-]/i
const LETTER = /\p{L}/u

/** Finds URLs with "://" of all schemes. A URL inside another one is a part of it. */
export function urlsIn(text: string): FoundUrl[] {
  const next = createFinder(text)
  const found: FoundUrl[] = []
  let from = 0
  let letterAt = -1
  for (let colon = next('://', 0); colon !== -1 && found.length < MAX_URLS; colon = next('://', from)) {
    const start = schemeStart(text, colon, from)
    if (start === colon) {
      from = colon + 3
      continue
    }
    if (letterAt === -1 && LETTER.test(text.slice(from, start))) letterAt = start
    const { end, after, isQuoted } = extentOf({ text, next, start, colon, inProse: letterAt !== -1 })
    const link = linkBefore(text, from, start)
    found.push({
      start: link?.start ?? start,
      end,
      after,
      url: text.slice(start, end).trimEnd(),
      scheme: text.slice(start, colon).toLowerCase(),
      opener: text[start - 1] ?? '',
      name: link === null ? undefined : nameOfLink(link, text.slice(start, end)),
      isQuoted,
    })
    from = Math.max(after, colon + 3)
  }
  return found
}

/** Where the scheme begins that ends at `colon`; `colon` itself if there is none. */
function schemeStart(text: string, colon: number, from: number): number {
  let start = colon
  const least = Math.max(from, colon - MAX_SCHEME_LENGTH)
  while (start > least && SCHEME_CHARACTER.test(text[start - 1]!)) start--
  // A full stop or hyphen belongs to the text before it: "1.https://", "-https://". A plus makes another scheme.
  const http = /(?:^|[.-])(https?)$/i.exec(text.slice(start, colon))?.[1]
  if (http !== undefined) return colon - http.length
  while (start < colon && !/[a-z]/i.test(text[start]!)) start++
  return start
}

interface Link {
  readonly start: number
  readonly text: string
  readonly isImage: boolean
}

/** Finds "[text](" or "[text](<" right before a URL. What stands before `from` belongs to other URLs. */
function linkBefore(text: string, from: number, start: number): Link | null {
  let at = start - 1
  if (text[at] === '<') at--
  while (at > from && text[at] === ' ') at--
  if (text[at] !== '(' || text[at - 1] !== ']') return null
  const end = at - 1
  let depth = 1
  for (at = end - 1; at >= from; at--) {
    if (text[at] === ']') depth++
    if (text[at] === '[' && --depth === 0) break
  }
  if (at < from) return null
  const isImage = at > from && text[at - 1] === '!'
  return { start: isImage ? at - 1 : at, text: text.slice(at + 1, end), isImage }
}

const isMarkup = (character: string) => /[\s*_`~]/.test(character)

/**
 * The text of a link is a name, with the URL's extension if it has none. An image's text describes it: it is a name only
 * if it looks like a file's.
 */
function nameOfLink({ text, isImage }: Link, url: string): string | undefined {
  const name = strip(text, isMarkup).replaceAll(/\\([!-/:-@[-`{-~])/g, '$1')
  if (name === '' || name.includes('://') || name.startsWith('![')) return undefined
  if (hasExtension(name)) return name
  return isImage ? undefined : name + extensionOf(url)
}

/** With its full stop; nothing if the path has none. */
function extensionOf(url: string): string {
  const file = fileOf(url)
  return hasExtension(file) ? file.slice(file.lastIndexOf('.')) : ''
}

/** The last segment of a URL's path, as the URL has it; nothing if there is no path. */
export function fileOf(url: string): string {
  const path = /^[^?#]*/.exec(url)![0]
  const host = path.indexOf('/', path.indexOf('://') + 3)
  return host === -1 ? '' : path.slice(path.lastIndexOf('/') + 1)
}
