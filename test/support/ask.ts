// An HTTP client that sees every byte as it comes, and whether the message was complete. Each request has its own connection.
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import { until } from './wait.ts'

export interface AskOptions {
  method?: string
  headers?: Record<string, string>
  body?: string
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** False if the connection ended before the message did. */
  readonly whole: boolean
}

export interface Coming {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** What has come so far. */
  readonly received: Buffer
  /** Resolves when the message or the connection ends. Never rejects. */
  readonly ended: Promise<Answer>
  /** Resolves once this many bytes have come. Throws if they do not come in time. */
  has(bytes: number): Promise<void>
  leave(): void
}

/** Resolves when the head of the answer has come; the body comes later. */
export function open(url: string, { method = 'GET', headers = {}, body }: AskOptions = {}): Promise<Coming> {
  return new Promise((resolve, reject) => {
    const asking = request(url, { method, headers, agent: false }, (res) => {
      const chunks: Buffer[] = []
      let length = 0
      const { statusCode: status = 0, headers } = res
      const received = () => Buffer.concat(chunks, length)
      const ended = new Promise<Answer>((settle) => {
        res.on('data', (chunk: Buffer) => {
          chunks.push(chunk)
          length += chunk.length
        })
        res.on('error', () => {})
        res.on('close', () => settle({ status, headers, body: received(), whole: res.complete }))
      })
      resolve({
        status,
        headers,
        get received() {
          return received()
        },
        ended,
        async has(bytes) {
          await until(() => length >= bytes, { what: `${bytes} bytes of the body` })
        },
        leave: () => asking.destroy(),
      })
    })
    asking.on('error', reject)
    asking.end(body)
  })
}

/** Resolves when the whole answer has come. */
export async function ask(url: string, options?: AskOptions): Promise<Answer> {
  return (await open(url, options)).ended
}

export interface RawConversation {
  readonly received: Buffer
  /** Resolves when the connection is closed: with its error code if it broke, otherwise with null. */
  readonly closed: Promise<string | null>
  send(bytes: Buffer): void
  leave(): void
}

/** A bare socket, for requests that a proper client would not send. */
export function converse(url: string, text: string): RawConversation {
  const { hostname, port } = new URL(url)
  const chunks: Buffer[] = []
  const socket = connect(Number(port), hostname, () => socket.write(text))
  let code: string | null = null
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code ?? error.message
  })
  return {
    get received() {
      return Buffer.concat(chunks)
    },
    closed: new Promise((resolve) => socket.once('close', () => resolve(code))),
    send: (bytes) => socket.write(bytes),
    leave: () => socket.destroy(),
  }
}
