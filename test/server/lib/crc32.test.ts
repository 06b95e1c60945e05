// CRC-32 equals zlib's for all bytes, in one piece or in many.
import { crc32 as byZlib } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32, isCrc32Native } from '../../../server/lib/crc32.ts'

describe('crc32', () => {
  it('is native where the tests run', () => {
    expect(isCrc32Native).toBe(true)
  })

  it('gives the check value for the check text', () => {
    expect(crc32('123456789')).toBe(0xcbf43926)
    expect(crc32(new Uint8Array())).toBe(0)
  })

  it('equals that of zlib, in one piece or in many', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 5_000 })), (pieces) => {
        const whole = Buffer.concat(pieces)
        const state = pieces.reduce((before, piece) => crc32(piece, before), 0)
        expect([crc32(whole), state]).toEqual([byZlib(whole), byZlib(whole)])
      }),
    )
  })
})
