// Counts the bytes of a response's body on a plain socket, after whatever head it has.

const END_OF_HEAD = '\r\n\r\n'

export interface BodyCounter {
  readonly bytes: number
  take(chunk: Buffer): void
}

/** For one response whose body is neither chunked nor followed by anything. */
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
