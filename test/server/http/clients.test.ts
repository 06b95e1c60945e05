// Who counts as a client for limits: the peer, or the last address that a trusted proxy names. For IPv6 the subnet counts.
import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { clientKey, clientOf } from '../../../server/http/clients.ts'

const request = (forwarded?: string | string[], remoteAddress = '127.0.0.1') =>
  ({ socket: { remoteAddress }, headers: { 'x-forwarded-for': forwarded } }) as unknown as IncomingMessage

describe('the client of a request', () => {
  it('is the peer, whatever its headers say, if no proxy is trusted', () => {
    expect(clientOf(request('192.0.2.7'), false)).toBe('127.0.0.1')
    expect(clientOf(request(undefined, '::ffff:192.0.2.7'), false)).toBe('192.0.2.7')
  })

  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['203.0.113.1, 192.0.2.7', '192.0.2.7'],
    [['203.0.113.1', '2001:db8::7'], '2001:db8:0:0::/64'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['nobody', '127.0.0.1'],
    ['192.0.2.7,', '127.0.0.1'],
    [undefined, '127.0.0.1'],
  ])('is the last address that a trusted proxy names: %j', (forwarded, address) => {
    expect(clientOf(request(forwarded), true)).toBe(address)
  })
})

describe('the key of an address', () => {
  it.each([
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff'],
    ['2001:DB8:1:2::1', '2001:0db8:0001:0002::'],
    ['fe80::1%eth0', 'fe80::2%eth1'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['::ffff:c000:207', '192.0.2.7'],
    ['0:0:0:0:0:ffff:c000:0207', '192.0.2.7'],
  ])('is the same for %s and %s', (one, other) => {
    expect(clientKey(one)).toBe(clientKey(other))
  })

  it('is different for each IPv4 address and each /64', () => {
    const addresses = ['192.0.2.7', '192.0.2.8', '2001:db8:1:2::1', '2001:db8:1:3::1', '2001:db8:0:2::1', '::1']
    expect(new Set(addresses.map(clientKey)).size).toBe(addresses.length)
  })

  it('is the text itself if that is not an address', () => {
    expect(clientKey('')).toBe('')
  })
})
