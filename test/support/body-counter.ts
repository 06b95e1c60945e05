// Counts the bytes of one response's body that come over a bare socket, whatever head precedes it.

const END_OF_HEAD = '\r\n\r\n'

export interface BodyCounter {
  readonly bytes: number
  take(chunk: Buffer): void
}

/** Serves for one response that is not chunked and that nothing follows. */
export function createBodyCounter(): BodyCounter {
  let head = ''
  let received = 0
  return {
    get bytes() {
      const end = head.indexOf(END_OF_HEAD)
      return end < 0 ? 0 : received - end - END_OF_HEAD.length
    },
    take(chunk) {
      received += chunk.length
      if (!head.includes(END_OF_HEAD)) head += chunk.toString('latin1')
    },
  }
}
