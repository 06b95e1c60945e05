// Reads a source URL: what may be asked for at all. No I/O; addresses are judged later, where they are dialled.
import { MAX_URL_LENGTH } from '#contracts/archive.ts'

/** An absolute http(s) URL with a host and without credentials, in WHATWG canonical form; else null. */
export function parseSource(text: string): URL | null {
  // URL() would silently drop tabs, newlines and surrounding controls: what was asked for must be what is fetched.
  if (text.length > MAX_URL_LENGTH || /[\u0000-\u001f\u007f]/.test(text)) return null
  const url = URL.parse(text)
  return url !== null && isPlainHttp(url) ? url : null
}

/** Where a redirect leads; null where it must not be followed whatever its address is. */
export function parseRedirect(location: string, from: URL): URL | null {
  const url = location.length > MAX_URL_LENGTH ? null : URL.parse(location, from.href)
  return url !== null && isPlainHttp(url) ? url : null
}

function isPlainHttp({ protocol, hostname, username, password }: URL): boolean {
  return (protocol === 'http:' || protocol === 'https:') && hostname !== '' && username === '' && password === ''
}

/** For logs: without query and fragment, which may hold secrets. */
export function withoutQuery(url: URL): string {
  return url.origin + url.pathname
}
