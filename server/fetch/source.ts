// Reads source URLs and refuses those that must not be requested. No I/O. Addresses are judged later, at dial time.
import { MAX_URL_LENGTH } from '#contracts/archive.ts'
import { cutEnd } from '../lib/text.ts'

/**
 * The longest host with port that is parsed, in UTF-16 units. A name has at most 253 characters (RFC 1035 section
 * 2.3.4). There is a limit because converting a name to ASCII takes time that grows with the square of its length.
 */
const MAX_AUTHORITY_LENGTH = 512
/** A redirect may repeat the path it came from. That is escaped by now, and one character may have become nine. */
const MAX_HREF_LENGTH = 9 * MAX_URL_LENGTH
/** A report or a log line shows no more of a URL than this. */
const MAX_REPORTED_LENGTH = 2048

/** Parses an absolute http(s) URL with a host and without credentials (WHATWG URL). Null for anything else. */
export function parseSource(text: string): URL | null {
  return parse(text)
}

/**
 * The URL that a redirect leads to; null if it must not be followed, whatever its address is. `location` has one character for each
 * byte, as HTTP parsers hand it over. Bytes beyond ASCII are escaped as they came, whatever their charset is. Of a host URL() reads
 * the escapes as UTF-8, then as IDNA.
 */
export function parseRedirect(location: string, from: URL): URL | null {
  const url = parse(location, from.href)
  return url !== null && url.href.length <= MAX_HREF_LENGTH ? url : null
}

function parse(text: string, base?: string): URL | null {
  // URL() silently drops tabs, newlines and surrounding controls, and so would fetch another URL than the given one.
  if (text.length > MAX_URL_LENGTH || /[\u0000-\u001f\u007f]/.test(text)) return null
  if (text.length > MAX_AUTHORITY_LENGTH && authorityLength(text) > MAX_AUTHORITY_LENGTH) return null
  const url = URL.parse(base === undefined ? text : withBytesEscaped(text), base)
  return url !== null && isPlainHttp(url) ? url : null
}

function withBytesEscaped(text: string): string {
  return text.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** The length of what URL() may read as host and port. It may be too high, never too low. 0 if the text is a path. */
function authorityLength(text: string): number {
  const [, before, slashes, after] = /^([^/\\?#]*)([/\\]*)([^/\\?#]*)/.exec(text)!
  const hasScheme = before!.includes(':')
  return Math.max(hasScheme ? before!.length : 0, hasScheme || slashes!.length > 1 ? after!.length : 0)
}

function isPlainHttp({ protocol, hostname, username, password }: URL): boolean {
  return (protocol === 'http:' || protocol === 'https:') && hostname !== '' && username === '' && password === ''
}

/** The URL for logs and reports: shortened, and without query and fragment, which may hold secrets. */
export function withoutQuery(url: URL): string {
  return cutEnd(url.origin + url.pathname, MAX_REPORTED_LENGTH)
}

export function portOf({ protocol, port }: { readonly protocol: string; readonly port: string }): number {
  return Number(port || (protocol === 'https:' ? 443 : 80))
}
