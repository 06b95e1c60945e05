// Who a client is, as far as limits go: the peer, or whom a trusted proxy names last.
import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { clientAddress } from '../../../server/http/limits.ts'

const request = (forwarded?: string | string[]) =>
  ({ socket: { remoteAddress: '127.0.0.1' }, headers: { 'x-forwarded-for': forwarded } }) as unknown as IncomingMessage

describe('the address of a client', () => {
  it('is the peer, whatever it says, where no proxy is trusted', () => {
    expect(clientAddress(request('192.0.2.7'), false)).toBe('127.0.0.1')
  })

  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['203.0.113.1, 192.0.2.7', '192.0.2.7'],
    [['203.0.113.1', '2001:db8::7'], '2001:db8::7'],
    ['nobody', '127.0.0.1'],
    ['192.0.2.7,', '127.0.0.1'],
    [undefined, '127.0.0.1'],
  ])('is the last one a trusted proxy names: %j', (forwarded, address) => {
    expect(clientAddress(request(forwarded), true)).toBe(address)
  })
})
