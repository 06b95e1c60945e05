// Counts the body of one HTTP/1.1 response from the bytes of its connection. It is pure, and keeps nothing of the body.

export interface BodyCounter {
  /** Takes the next bytes of the connection. @throws if they are not a valid response */
  feed(bytes: Buffer): void
  readonly bodyBytes: number
  /** True once the body is whole. Stays false if the body ends with the connection. */
  readonly isWhole: boolean
  /** True if the head has been read and contains no length: the body ends with the connection (RFC 9112 section 6.3). */
  readonly endsWithConnection: boolean
}

type Expecting = 'head' | 'length' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer' | 'connection-end' | 'nothing'

const MAX_LINE_BYTES = 65_536
const NEWLINE = 0x0a

export function createBodyCounter(): BodyCounter {
  let expecting: Expecting = 'head'
  const head: string[] = []
  /** The beginning of a line whose end has not come yet. */
  let unfinished = ''
  let left = 0
  let bodyBytes = 0

  function startBody() {
    if (!/^HTTP\/1\.[01] 200 /.test(head[0] ?? '')) throw new Error(`the server answered "${head[0]}"`)
    const field = (name: string) =>
      head.find((line) => line.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1)
    const length = field('content-length')
    if (/chunked/i.test(field('transfer-encoding') ?? '')) expecting = 'chunk-size'
    else if (length === undefined) expecting = 'connection-end'
    else {
      left = Number(length)
      expecting = left === 0 ? 'nothing' : 'length'
    }
  }

  function takeLine(line: string) {
    switch (expecting) {
      case 'head':
        if (line === '') startBody()
        else head.push(line)
        return
      case 'chunk-size':
        if (!/^[0-9a-f]+ *(;.*)?$/i.test(line)) throw new Error(`"${line.slice(0, 20)}" is no size of a chunk`)
        left = Number.parseInt(line, 16)
        expecting = left === 0 ? 'trailer' : 'chunk'
        return
      case 'chunk-end':
        expecting = 'chunk-size'
        return
      default:
        if (line === '') expecting = 'nothing'
    }
  }

  return {
    feed(bytes) {
      let at = 0
      while (at < bytes.length) {
        switch (expecting) {
          case 'head':
          case 'chunk-size':
          case 'chunk-end':
          case 'trailer': {
            const end = bytes.indexOf(NEWLINE, at)
            unfinished += bytes.toString('latin1', at, end < 0 ? Math.min(bytes.length, at + MAX_LINE_BYTES) : end)
            if (unfinished.length >= MAX_LINE_BYTES) throw new Error('a line of the response has no end')
            at = end < 0 ? bytes.length : end + 1
            if (end < 0) break
            const line = unfinished.replace(/\r$/, '')
            unfinished = ''
            takeLine(line)
            break
          }
          case 'length':
          case 'chunk': {
            const step = Math.min(left, bytes.length - at)
            left -= step
            at += step
            bodyBytes += step
            if (left === 0) expecting = expecting === 'chunk' ? 'chunk-end' : 'nothing'
            break
          }
          case 'connection-end':
            bodyBytes += bytes.length - at
            at = bytes.length
            break
          case 'nothing':
            throw new Error('bytes after the end of the response')
          default:
            expecting satisfies never
        }
      }
    },
    get bodyBytes() {
      return bodyBytes
    },
    get isWhole() {
      return expecting === 'nothing'
    },
    get endsWithConnection() {
      return expecting === 'connection-end'
    },
  }
}
