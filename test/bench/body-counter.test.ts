// The counter of a body must be right wherever the bytes of the connection are cut.
import { describe, expect, it } from 'vitest'
import { createBodyCounter } from './body-counter.ts'

const chunked =
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n'
const sized = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length:5\r\n\r\nhello'
const unsized = 'HTTP/1.0 200 OK\r\nServer: one\r\n\r\nhello\r\n'

function feed(text: string, at = text.length) {
  const counter = createBodyCounter()
  for (const part of [text.slice(0, at), text.slice(at)]) counter.feed(Buffer.from(part))
  return counter
}

describe('the counter of a body', () => {
  it.each([
    ['in chunks', chunked, 15],
    ['of a told length', sized, 5],
  ])('counts a body %s, wherever it is cut', (_, text, bytes) => {
    for (let at = 0; at <= text.length; at++) expect(feed(text, at)).toMatchObject({ bodyBytes: bytes, isWhole: true })
  })

  it('counts a body that ends with the connection, and does not know if it is whole', () => {
    for (let at = 0; at <= unsized.length; at++) {
      expect(feed(unsized, at)).toMatchObject({ bodyBytes: 7, isWhole: false, endsWithConnection: true })
    }
  })

  it.each([
    ['in chunks', chunked],
    ['of a told length', sized],
  ])('does not take a body %s for whole if its last byte is missing', (_, text) => {
    expect(feed(text.slice(0, -1))).toMatchObject({ isWhole: false, endsWithConnection: false })
  })

  it('takes an empty body for whole', () => {
    expect(feed('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')).toMatchObject({ bodyBytes: 0, isWhole: true })
  })

  it.each([
    ['another status', 'HTTP/1.1 404 Not Found\r\n\r\n'],
    ['a size that is none', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'],
    ['bytes after the end', `${sized}!`],
    ['a line without an end', 'H'.repeat(70_000)],
  ])('refuses %s', (_, text) => {
    expect(() => feed(text)).toThrow()
  })
})
