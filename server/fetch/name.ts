// Proposes what an entry is called, from what the client asked for and what the origin said, as a browser would call it.
import { MAX_NAME_LENGTH } from '#contracts/archive.ts'
import { cutMiddle } from '../lib/text.ts'
import { decodeUnnamed, unescapeBytes } from './decode-bytes.ts'
import { fileNamesIn } from './disposition.ts'
import { withExtension } from './extensions.ts'

export interface NameSources {
  /** From the manifest; may hold folders. */
  readonly requested?: string | null | undefined
  /** The header's value, one character a byte, as HTTP parsers hand it over. */
  readonly contentDisposition?: string | null | undefined
  /** After redirects. */
  readonly finalUrl: URL
  readonly contentType?: string | null | undefined
  /** The entry's place in the manifest, from 0. */
  readonly index: number
}

/** A longer Content-Disposition is not read. Above what HTTP parsers let through by default there is none anyway. */
const MAX_DISPOSITION_LENGTH = 16_384

/** Chromium replaces these in names, and U+200C and U+200D as well. Those stay here: Persian and emoji need them. */
const ILLEGAL = /["*:<>?|\p{Cc}\p{Noncharacter_Code_Point}]|(?![\u200c\u200d])\p{Cf}/gu
const ILLEGAL_AT_ENDS = /^[\s.~]|[\s.~]$/gu

/** Most names are like this, and need no work. */
const PLAIN = /^[A-Za-z\d][\w-]*(?:\.[\w-]+)*$/

/** A name needs one of these: it can be seen, and tells one file from another. */
const TELLING = /[^\s._\p{Cc}\p{Cf}\p{Cs}\p{Noncharacter_Code_Point}-]/u

/**
 * Takes the first source that has a name: the manifest, Content-Disposition, the URL's path, the entry's number. Only the
 * last two get an extension from the media type. What the client asked for stays as it is; other names have one segment,
 * and characters that a file may have. The name has at most `MAX_NAME_LENGTH` and an extension, because it is journalled.
 */
export function proposeName({ requested, contentDisposition, finalUrl, contentType, index }: NameSources): string {
  const asked = cutMiddle(requested ?? '', MAX_NAME_LENGTH)
  if (asked.trim() !== '') return asked
  const told = nameFromDisposition(contentDisposition ?? '')
  if (told !== null) return told
  const name = nameFromUrl(finalUrl)
  const number = String(index + 1).padStart(4, '0')
  return withExtension(name ?? `file-${number}`, contentType ?? '', name !== null && hasQuery(finalUrl))
}

function nameFromDisposition(header: string): string | null {
  if (header === '' || header.length > MAX_DISPOSITION_LENGTH) return null
  for (const raw of fileNamesIn(header)) {
    const name = fileNameOf(raw)
    if (name !== null) return name
  }
  return null
}

/** Reads the last segment that is not empty, up to its parameters (RFC 3986 section 3.3 gives them a semicolon). */
function nameFromUrl({ pathname }: URL): string | null {
  let end = pathname.length
  while (pathname[end - 1] === '/') end--
  const segment = pathname.slice(pathname.lastIndexOf('/', end - 1) + 1, end).split(';', 1)[0]!
  return fileNameOf(decodeUnnamed(unescapeBytes(segment)))
}

/** An empty query counts, but `search` does not show it. */
function hasQuery(url: URL): boolean {
  return url.href.includes('?') && url.href.split('#', 1)[0]!.includes('?')
}

/** Null if nothing is left that tells one file from another. */
function fileNameOf(raw: string): string | null {
  if (raw.length <= MAX_NAME_LENGTH && PLAIN.test(raw)) return raw
  const name = cutMiddle(withoutDots(raw), MAX_NAME_LENGTH).replace(/[/\\]/g, '_')
  return TELLING.test(name) ? name.replace(ILLEGAL, '_').replace(ILLEGAL_AT_ENDS, '_') : null
}

/** This is a loop, because /\.+$/ takes quadratic time. */
function withoutDots(name: string): string {
  let start = 0
  let end = name.length
  while (name[start] === '.') start++
  while (end > start && name[end - 1] === '.') end--
  return name.slice(start, end)
}
