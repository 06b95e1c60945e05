// Follows the frames of a websocket (RFC 6455 section 5.2) past their content: how much of a message is on its way. No I/O.

export interface FrameMeter {
  /** Bytes of the message that is not whole yet, as far as its frames have said; 0 between messages. */
  readonly declaredBytes: number
  /** What it costs to keep it until it is whole. */
  readonly unfinishedBytes: number
  /** Bytes of messages that are whole, and that `takeMessage` was not called for. */
  readonly wholeBytes: number
  /** The next of those was looked at. */
  takeMessage(): void
  /** The next bytes of the connection. */
  feed(chunk: Uint8Array): void
}

const CONTROL = 0x08
const FIN = 0x80
const MASKED = 0x80
const MASK_BYTES = 4
/** An object for each piece it comes in, whatever its size. */
const PIECE_BYTES = 256

export function createFrameMeter(): FrameMeter {
  let declaredBytes = 0
  let pieces = 0
  const whole: number[] = []
  let wholeBytes = 0
  /** Of the header of a frame, as far as it has come: 2 to 10 bytes, without the mask. */
  const header: number[] = []
  /** Of the frame, mask included. */
  let left = 0
  let isLast = false

  /** Takes the header's next byte; true once it is whole. */
  function takeHeader(byte: number): boolean {
    header.push(byte)
    if (header.length < 2) return false
    const [first, second] = header as [number, number]
    const short = second & 0x7f
    const size = short === 126 ? 4 : short === 127 ? 10 : 2
    if (header.length < size) return false
    const length = size === 2 ? short : header.slice(2).reduce((sum, part) => sum * 256 + part, 0)
    left = length + (second & MASKED ? MASK_BYTES : 0)
    const isControl = (first & CONTROL) !== 0
    if (!isControl) declaredBytes += length
    isLast = !isControl && (first & FIN) !== 0
    header.length = 0
    return true
  }

  return {
    get declaredBytes() {
      return declaredBytes
    },
    get unfinishedBytes() {
      return declaredBytes + pieces * PIECE_BYTES
    },
    get wholeBytes() {
      return wholeBytes
    },
    takeMessage() {
      wholeBytes -= whole.shift() ?? 0
    },
    feed(chunk) {
      let at = 0
      while (at < chunk.length) {
        if (left === 0 && !takeHeader(chunk[at++]!)) continue
        const taken = Math.min(left, chunk.length - at)
        at += taken
        left -= taken
        if (left > 0 || !isLast) continue
        whole.push(declaredBytes)
        wholeBytes += declaredBytes
        declaredBytes = 0
        pieces = 0
        isLast = false
      }
      if (declaredBytes > 0) pieces++
    },
  }
}
