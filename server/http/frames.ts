// Reads only the frame headers of a websocket (RFC 6455 section 5.2): how much of a message is on its way. No I/O.

export interface FrameMeter {
  /** Size of the unfinished message, as far as its frame headers have declared it. 0 between messages. */
  readonly declaredBytes: number
  /** What it costs to keep the unfinished message until it is whole. */
  readonly unfinishedBytes: number
  /** Bytes of whole messages and control frames that `take` was not yet called for. */
  readonly wholeBytes: number
  /** Call it when ws has emitted a whole message or control frame with a payload of this size. */
  take(payloadBytes: number): void
  /** Takes the next bytes of the connection. */
  feed(chunk: Uint8Array): void
}

const CONTROL = 0x08
const FIN = 0x80
const MASKED = 0x80
const MASK_BYTES = 4
/** A waiting message keeps its header (at most 14 bytes). Many small messages are little more than headers. */
const HEADER_BYTES = 16
/** Each piece that a message arrives in costs an object, however small the piece is. */
const PIECE_BYTES = 256

export function createFrameMeter(): FrameMeter {
  let declaredBytes = 0
  let pieces = 0
  let wholeBytes = 0
  /** The frame's header: how many bytes have come, the first byte, and its size without the mask (2 to 10 bytes). */
  let headerBytes = 0
  let first = 0
  let headerSize = 2
  let length = 0
  let maskBytes = 0
  /** Bytes of the frame that are still to come, mask included. */
  let left = 0
  let isControl = false
  let isLast = false

  /** Takes the next byte of the header. Returns true once the header is whole. */
  function takeHeader(byte: number): boolean {
    headerBytes++
    if (headerBytes === 1) {
      first = byte
      return false
    }
    if (headerBytes === 2) {
      const short = byte & 0x7f
      headerSize = short === 126 ? 4 : short === 127 ? 10 : 2
      length = headerSize === 2 ? short : 0
      maskBytes = byte & MASKED ? MASK_BYTES : 0
    } else {
      length = length * 256 + byte
    }
    if (headerBytes < headerSize) return false
    headerBytes = 0
    left = length + maskBytes
    isControl = (first & CONTROL) !== 0
    if (!isControl) declaredBytes += length
    isLast = (first & FIN) !== 0
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
    take(payloadBytes) {
      wholeBytes = Math.max(0, wholeBytes - HEADER_BYTES - payloadBytes)
    },
    feed(chunk) {
      let at = 0
      while (at < chunk.length) {
        if (left === 0 && !takeHeader(chunk[at++]!)) continue
        const taken = Math.min(left, chunk.length - at)
        at += taken
        left -= taken
        if (left > 0 || !isLast) continue
        wholeBytes += HEADER_BYTES + (isControl ? length : declaredBytes)
        if (isControl) continue
        declaredBytes = 0
        pieces = 0
      }
      if (declaredBytes > 0) pieces++
    },
  }
}
