// How many bytes of a websocket message are on their way, whatever pieces it comes in.
import { describe, expect, it } from 'vitest'
import { createFrameMeter } from '../../../server/http/frames.ts'

interface Frame {
  payload: number
  opcode?: number
  last?: boolean
}

/** Makes a frame as a client sends it: masked, and with a length of 1, 3 or 9 bytes (RFC 6455 section 5.2). */
function frame({ payload, opcode = 1, last = true }: Frame): Buffer {
  const first = (last ? 0x80 : 0) | opcode
  const head =
    payload < 126
      ? [first, 0x80 | payload]
      : payload < 65_536
        ? [first, 0x80 | 126, payload >> 8, payload & 0xff]
        : [first, 0x80 | 127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((bits) => (payload >> bits) & 0xff)]
  return Buffer.concat([Buffer.from(head), Buffer.alloc(4 + payload, 0x83)])
}

const message = [
  frame({ payload: 70_000, last: false }),
  frame({ payload: 5, opcode: 9 }),
  frame({ payload: 0, opcode: 0, last: false }),
  frame({ payload: 300, opcode: 0 }),
]

describe('the frames of a websocket', () => {
  it.each([1, 2, 3, 7, 1000, 1_000_000])('are followed in pieces of %i bytes', (size) => {
    const meter = createFrameMeter()
    const bytes = Buffer.concat([...message, ...message, frame({ payload: 4 })])
    const half = Buffer.concat([bytes, message[0]!, message[1]!])
    let most = 0
    for (let at = 0; at < half.length; at += size) {
      meter.feed(half.subarray(at, at + size))
      most = Math.max(most, meter.declaredBytes)
    }
    expect(meter.declaredBytes).toBe(70_000)
    if (size < 300) expect(most).toBe(70_300)
    meter.feed(frame({ payload: 0, opcode: 0 }))
    expect([meter.declaredBytes, meter.unfinishedBytes]).toEqual([0, 0])
  })

  it('count with their announced length before their bytes have come', () => {
    const meter = createFrameMeter()
    meter.feed(frame({ payload: 8_000_000 }).subarray(0, 10))
    expect(meter.declaredBytes).toBe(8_000_000)
  })

  it('cost more in many pieces than in one', () => {
    const meter = createFrameMeter()
    const bytes = frame({ payload: 100_000 }).subarray(0, -1)
    for (const byte of bytes) meter.feed(Uint8Array.of(byte))
    expect(meter.unfinishedBytes).toBeGreaterThan(20 * 1024 * 1024)
  })

  it('that are whole count with their headers until they have been handled', () => {
    const meter = createFrameMeter()
    meter.feed(Buffer.concat([frame({ payload: 10 }), frame({ payload: 3, opcode: 9 }), frame({ payload: 20 })]))
    expect(meter.wholeBytes).toBe(33 + 3 * 16)
    for (const payload of [10, 3, 20]) meter.take(payload)
    expect(meter.wholeBytes).toBe(0)
  })

  it('count nothing between messages, even if there are control frames', () => {
    const meter = createFrameMeter()
    for (const opcode of [8, 9, 10]) meter.feed(frame({ payload: 125, opcode }))
    meter.feed(frame({ payload: 100 }))
    expect(meter.unfinishedBytes).toBe(0)
  })
})
