// Who may talk to this server: checks Host and Origin, so that no web page elsewhere can drive it. No I/O.
import { isIP } from 'node:net'

export interface GuardPolicy {
  /** Names this server is reached by besides localhost and literal addresses, lower case, without port. */
  readonly allowedHosts: ReadonlySet<string>
  /** Web origins whose pages may use this server besides its own, e.g. "https://app.example". */
  readonly allowedOrigins: ReadonlySet<string>
}

export interface RequestFacts {
  readonly host: string | undefined
  readonly origin: string | undefined
  /** Sec-Fetch-Site, which browsers send and pages cannot forge. */
  readonly fetchSite: string | undefined
  /** By which the client reaches us, as far as that is known: TLS ends elsewhere, and only a trusted proxy can tell. */
  readonly scheme: 'http' | 'https' | null
}

export type GuardVerdict = 'ok' | { readonly status: 403 | 421; readonly reason: string }

/** `isCall`: the request reaches procedures, not just bytes by an unguessable address. */
export function judgeRequest(
  { host, origin, fetchSite, scheme }: RequestFacts,
  policy: GuardPolicy,
  isCall: boolean,
): GuardVerdict {
  // Nothing but host and port, or a URL's other parts could stand in for the host.
  const url = host === undefined || /[@/\\?#]/.test(host) ? null : URL.parse(`http://${host}`)
  // A page of an attacker's name that resolves to this machine (DNS rebinding) arrives under that name.
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

/** Two schemes are two origins (RFC 6454 section 4); where ours is not known, it is that of the page. */
function isOwn(origin: string, host: string, scheme: RequestFacts['scheme']): boolean {
  const page = URL.parse(origin)
  if (page === null || !['http:', 'https:'].includes(page.protocol)) return false
  return page.origin === URL.parse(`${scheme ?? page.protocol.slice(0, -1)}://${host}`)?.origin
}

function knownHost(hostname: string, { allowedHosts }: GuardPolicy): boolean {
  const name = hostname.toLowerCase()
  return isIP(name.replace(/^\[|\]$/g, '')) !== 0 || name === 'localhost' || allowedHosts.has(name)
}
