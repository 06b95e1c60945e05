// Reads what a request is for, in any form of RFC 9112 section 3.2, and if it may become a websocket.
import type { IncomingMessage } from 'node:http'
import { paths } from '#contracts/wire.ts'

/** An absolute form; captures its authority and the rest. */
const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i

/**
 * Leaves a path in `req.url`, and in `req.headers` the one host that counts. The authority of an absolute form replaces
 * the Host header (section 3.2.2). Returns why the request is bad (400); null if it is not.
 */
export function settleTarget(req: IncomingMessage): string | null {
  if (hostsOf(req) > 1) return 'more than one Host header'
  const { url = '', method } = req
  if (url.startsWith('/') || (url === '*' && method === 'OPTIONS')) return null
  const absolute = ABSOLUTE.exec(url)
  if (absolute === null) return 'the request target is neither a path nor a URL of http or https'
  const [, authority = '', rest = ''] = absolute
  req.headers.host = authority
  req.url = rest.startsWith('/') ? rest : `/${rest}`
  return null
}

/** Counts the Host headers. Node keeps the first and drops the others, but another recipient may choose differently. */
function hostsOf({ rawHeaders }: IncomingMessage): number {
  let hosts = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]!.length === 4 && rawHeaders[at]!.toLowerCase() === 'host') hosts++
  }
  return hosts
}

export function pathOf({ url = '/' }: Pick<IncomingMessage, 'url'>): string {
  const end = url.search(/[?#]/)
  return end < 0 ? url : url.slice(0, end)
}

/** An offer of another protocol is ignored, as a server is free to do (RFC 9110 section 7.8). */
export function isWebsocket({ url = '', headers, method }: IncomingMessage): boolean {
  if (method !== 'GET' || headers.upgrade?.trim().toLowerCase() !== 'websocket') return false
  return pathOf({ url: ABSOLUTE.exec(url)?.[2] ?? url }) === paths.trpc
}
