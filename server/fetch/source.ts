// Reads a source URL: what may be asked for at all. No I/O; addresses are judged later, where they are dialled.
import { MAX_URL_LENGTH } from '#contracts/archive.ts'
import { cutEnd } from '../lib/text.ts'

/**
 * Longest host with its port that is looked at, in UTF-16 units. A name has 253 characters at most (RFC 1035 section
 * 2.3.4); making ASCII of another script takes the square of its length.
 */
const MAX_AUTHORITY_LENGTH = 512
/** A redirect may keep the path of what it leads away from, which is escaped by now: nine characters for one. */
const MAX_HREF_LENGTH = 9 * MAX_URL_LENGTH
/** Beyond what a list or a line of the log may hold. */
const MAX_TOLD_LENGTH = 2048

/** An absolute http(s) URL with a host and without credentials, in WHATWG canonical form; else null. */
export function parseSource(text: string): URL | null {
  return parse(text)
}

/** Where a redirect leads; null if it must not be followed whatever its address is. */
export function parseRedirect(location: string, from: URL): URL | null {
  const url = parse(location, from.href)
  return url !== null && url.href.length <= MAX_HREF_LENGTH ? url : null
}

function parse(text: string, base?: string): URL | null {
  // URL() would silently drop tabs, newlines and surrounding controls: what was asked for must be what is fetched.
  if (text.length > MAX_URL_LENGTH || /[\u0000-\u001f\u007f]/.test(text)) return null
  if (text.length > MAX_AUTHORITY_LENGTH && authorityLength(text) > MAX_AUTHORITY_LENGTH) return null
  const url = URL.parse(text, base)
  return url !== null && isPlainHttp(url) ? url : null
}

/** Of what URL() may take for one; at most too much. 0 if there is none: it is a path then. */
function authorityLength(text: string): number {
  const [, before, slashes, after] = /^([^/\\?#]*)([/\\]*)([^/\\?#]*)/.exec(text)!
  const hasScheme = before!.includes(':')
  return Math.max(hasScheme ? before!.length : 0, hasScheme || slashes!.length > 1 ? after!.length : 0)
}

function isPlainHttp({ protocol, hostname, username, password }: URL): boolean {
  return (protocol === 'http:' || protocol === 'https:') && hostname !== '' && username === '' && password === ''
}

/** For logs and reports: without query and fragment, which may hold secrets, and cut. */
export function withoutQuery(url: URL): string {
  return cutEnd(url.origin + url.pathname, MAX_TOLD_LENGTH)
}

export function portOf({ protocol, port }: { readonly protocol: string; readonly port: string }): number {
  return Number(port || (protocol === 'https:' ? 443 : 80))
}
