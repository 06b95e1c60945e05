// Keeps the cookies of one chain of redirects, each for the host that set it. Shared with nothing, stored and logged nowhere.
import { isIP } from 'node:net'

/** A page that redirects to itself until its cookie comes back sets a few; a browser keeps 180 for a site. */
const MAX_COOKIES = 50
/** Of one cookie, and of its attributes: no browser takes more (RFC 6265 section 6.1 asks for as much). */
const MAX_COOKIE_LENGTH = 4096
/** Of all together. Servers refuse longer requests. */
const MAX_JAR_LENGTH = 16 * 1024

interface Cookie {
  /** Empty if there is only a value. */
  readonly name: string
  readonly value: string
  readonly host: string
  readonly path: string
  readonly isSecure: boolean
  readonly expiresMs: number
}

/**
 * Judges cookies as RFC 6265 section 5 and its successor (draft-ietf-httpbis-rfc6265bis) say, but is narrower: a Domain attribute never
 * makes other hosts get a cookie. What is refused is as if it had not been set.
 */
export class CookieJar {
  /** By age, oldest first. */
  #cookies: Cookie[] = []

  /** Keeps what the `Set-Cookie` fields of a response from `url` set. A cookie that is over removes the one it stands for. */
  take(fields: string | string[] | undefined, url: URL, nowMs: number): void {
    for (const field of [fields ?? []].flat()) {
      const cookie = parseCookie(field, url, nowMs)
      if (cookie !== null) this.#put(cookie, url, nowMs)
    }
  }

  /** The value of the `Cookie` field for a request to `url`; null if there is nothing to send. */
  fieldFor(url: URL, nowMs: number): string | null {
    const sent = this.#cookies
      .filter((cookie) => cookie.expiresMs > nowMs && isFor(cookie, url))
      .sort((a, b) => b.path.length - a.path.length)
    return sent.length === 0 ? null : sent.map(pairOf).join('; ')
  }

  #put(cookie: Cookie, url: URL, nowMs: number): void {
    const isSame = (other: Cookie) => other.name === cookie.name && other.host === cookie.host
    // Whoever can change plain HTTP on its way must not replace what was set over TLS.
    if (url.protocol !== 'https:' && this.#cookies.some((other) => other.isSecure && isSame(other))) return
    const at = this.#cookies.findIndex((other) => isSame(other) && other.path === cookie.path)
    if (cookie.expiresMs <= nowMs) {
      if (at !== -1) this.#cookies.splice(at, 1)
    } else if (at === -1) this.#cookies.push(cookie)
    else this.#cookies[at] = cookie
    let length = this.#cookies.reduce((sum, each) => sum + lengthOf(each), 0)
    while (this.#cookies.length > MAX_COOKIES || length > MAX_JAR_LENGTH) length -= lengthOf(this.#cookies.shift()!)
  }
}

const pairOf = ({ name, value }: Cookie): string => (name === '' ? value : `${name}=${value}`)
/** With the path, which is kept too, and the "; " between two cookies. */
const lengthOf = (cookie: Cookie): number => pairOf(cookie).length + cookie.path.length + 2

function isFor({ host, path, isSecure }: Cookie, { protocol, hostname, pathname }: URL): boolean {
  if (host !== hostname || (isSecure && protocol !== 'https:')) return false
  // RFC 6265 section 5.1.4.
  return pathname === path || (pathname.startsWith(path) && (path.endsWith('/') || pathname[path.length] === '/'))
}

/** Null if the field sets no cookie that this host may set. */
function parseCookie(field: string, url: URL, nowMs: number): Cookie | null {
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(field)) return null
  const [pair = '', ...rest] = field.split(';')
  const equals = pair.indexOf('=')
  const name = pair.slice(0, Math.max(equals, 0)).trim()
  const value = pair.slice(equals + 1).trim()
  if (name + value === '' || name.length + value.length > MAX_COOKIE_LENGTH) return null
  const attributes = attributesOf(rest)
  const host = url.hostname
  const domain = attributes.get('domain')?.replace(/^\./, '').toLowerCase() ?? ''
  if (domain !== '' && !isWithin(host, domain)) return null
  const asked = attributes.get('path') ?? ''
  const path = asked.startsWith('/') ? asked : defaultPath(url.pathname)
  const isSecure = attributes.has('secure')
  if (isSecure && url.protocol !== 'https:') return null
  // Browsers take no cookie whose value alone looks like such a name.
  const prefix = /^__(host|secure)-/i.exec(name === '' ? value : name)?.[1]?.toLowerCase()
  if (prefix !== undefined && (name === '' || !isSecure)) return null
  if (prefix === 'host' && (asked !== '/' || domain !== '')) return null
  return { name, value, host, path, isSecure, expiresMs: expiryOf(attributes, nowMs) }
}

/** The last one of a name counts. Longer ones are ignored. */
function attributesOf(texts: readonly string[]): Map<string, string> {
  const attributes = new Map<string, string>()
  for (const text of texts) {
    const equals = text.indexOf('=')
    const name = (equals === -1 ? text : text.slice(0, equals)).trim().toLowerCase()
    const value = equals === -1 ? '' : text.slice(equals + 1).trim()
    if (value.length <= 1024) attributes.set(name, value)
  }
  return attributes
}

/** A domain of one label is shared by strangers. */
function isWithin(host: string, domain: string): boolean {
  return host === domain || (isIP(host) === 0 && domain.includes('.') && host.endsWith(`.${domain}`))
}

/** RFC 6265 section 5.1.4. */
function defaultPath(pathname: string): string {
  return pathname.slice(0, Math.max(pathname.lastIndexOf('/'), 1))
}

/** Max-Age wins over Expires (RFC 6265 section 5.3). What cannot be read is ignored, and the cookie lasts as long as the jar. */
function expiryOf(attributes: ReadonlyMap<string, string>, nowMs: number): number {
  const maxAge = attributes.get('max-age') ?? ''
  if (/^-?\d+$/.test(maxAge)) return Number(maxAge) > 0 ? nowMs + 1_000 * Number(maxAge) : Number.NEGATIVE_INFINITY
  const expires = Date.parse(attributes.get('expires') ?? '')
  return Number.isNaN(expires) ? Number.POSITIVE_INFINITY : expires
}
