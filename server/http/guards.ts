// Decides who may talk to this server: checks Host and Origin, so that web pages of others cannot drive it. No I/O.
import { isIP } from 'node:net'

export interface GuardPolicy {
  /** Host names of this server besides localhost and literal addresses, in lower case, without port. */
  readonly allowedHosts: ReadonlySet<string>
  /** Other web origins whose pages may use this server, e.g. "https://app.example". */
  readonly allowedOrigins: ReadonlySet<string>
}

export interface RequestFacts {
  readonly host: string | undefined
  readonly origin: string | undefined
  /** Sec-Fetch-Site. Browsers send it, and pages cannot forge it. */
  readonly fetchSite: string | undefined
  /** The scheme that the client used. TLS ends at a proxy, so it is known only if a trusted proxy reports it. */
  readonly scheme: 'http' | 'https' | null
}

export type GuardVerdict = 'ok' | { readonly status: 403 | 421; readonly reason: string }

/** `isCall` is true if the request calls procedures, and false if it only reads bytes at an unguessable address. */
export function judgeRequest(
  { host, origin, fetchSite, scheme }: RequestFacts,
  policy: GuardPolicy,
  isCall: boolean,
): GuardVerdict {
  // Only host and port are allowed: with other parts of a URL in it, another name could pass for the host.
  const url = host === undefined || /[@/\\?#]/.test(host) ? null : URL.parse(`http://${host}`)
  // A name of an attacker may resolve to this machine (DNS rebinding). The attacker's page then sends that name.
  if (url === null || !knownHost(url.hostname, policy)) {
    return { status: 421, reason: `not served under this host name; SHEAF_ALLOWED_HOSTS lists those that are` }
  }
  if (origin !== undefined) {
    if (policy.allowedOrigins.has(origin) || isOwn(origin, host!, scheme)) return 'ok'
    return {
      status: 403,
      reason: 'pages of this origin may not use this server; SHEAF_ALLOWED_ORIGINS lists those that may',
    }
  }
  if (isCall && (fetchSite === 'cross-site' || fetchSite === 'same-site')) {
    return { status: 403, reason: 'pages of other sites may not call this server' }
  }
  return 'ok'
}

/** Two schemes are two origins (RFC 6454 section 4). If ours is not known, it is taken to be that of the page. */
function isOwn(origin: string, host: string, scheme: RequestFacts['scheme']): boolean {
  const page = URL.parse(origin)
  if (page === null || !['http:', 'https:'].includes(page.protocol)) return false
  return page.origin === URL.parse(`${scheme ?? page.protocol.slice(0, -1)}://${host}`)?.origin
}

function knownHost(hostname: string, { allowedHosts }: GuardPolicy): boolean {
  const name = hostname.toLowerCase()
  return isIP(name.replace(/^\[|\]$/g, '')) !== 0 || name === 'localhost' || allowedHosts.has(name)
}
