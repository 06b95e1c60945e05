// Decides who a client is: gives the one key that every limit counts by. No I/O.
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/**
 * An IPv4 address is its own key, even if it is written as an IPv6 one (RFC 4291 section 2.5.5.2). The key of an IPv6
 * address is its /64: nobody is given less than a subnet (RFC 6177 section 2), and a host takes any addresses in it
 * (RFC 8981).
 */
export function clientKey(address: string): string {
  if (isIP(address) !== 6) return address
  const parsed = ipaddr.process(address)
  if (parsed.kind() === 'ipv4') return parsed.toString()
  const subnet = (parsed as ipaddr.IPv6).parts.slice(0, 4).map((part) => part.toString(16))
  return `${subnet.join(':')}::/64`
}

/** The client is the peer. Behind our own proxy it is the last address in X-Forwarded-For, which that proxy added. */
export function clientOf(req: IncomingMessage, trustProxy: boolean): string {
  const peer = req.socket.remoteAddress ?? ''
  if (!trustProxy) return clientKey(peer)
  const forwarded = lastOf(req.headers['x-forwarded-for'])
  return clientKey(isIP(forwarded) !== 0 ? forwarded : peer)
}

/** The last value of a header that proxies append to. */
export function lastOf(header: string | string[] | undefined): string {
  return [header ?? []].flat().join(',').split(',').at(-1)!.trim()
}
