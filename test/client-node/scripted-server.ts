// A server with one archive, whose answers the test scripts: the n-th request gets the n-th script.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

export type Script = (response: ServerResponse, request: IncomingMessage) => void | Promise<void>

export interface ScriptedServer extends AsyncDisposable {
  readonly url: string
  /** `range` of each request so far, in order. */
  readonly ranges: (string | undefined)[]
  readonly requests: IncomingMessage[]
}

/** The last script also answers all later requests. */
export async function startScripted(...scripts: Script[]): Promise<ScriptedServer> {
  const requests: IncomingMessage[] = []
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => {
    requests.push(request)
    const script = scripts[Math.min(requests.length, scripts.length) - 1]
    void script?.(response, request)
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/archives/id/archive.zip`,
    requests,
    get ranges() {
      return requests.map(({ headers }) => headers.range)
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

const FOREVER = 9007199254740991

interface GrowingOptions {
  etag?: string
  from?: number
  /** Sends this many bytes, then does what `after` says. @default all */
  until?: number
  after?: 'end' | 'reset' | 'hang'
}

/** Answers as for a growing archive: chunked, with 200 from the start or 206 of unknown total (RFC 8673). */
export function growing(
  body: Buffer,
  { etag = '"id.1"', from = 0, until, after = 'end' }: GrowingOptions = {},
): Script {
  return (response) => {
    const head: Record<string, string> = { etag }
    if (from > 0) head['content-range'] = `bytes ${from}-${FOREVER}/*`
    response.writeHead(from > 0 ? 206 : 200, head)
    send(response, body.subarray(from, until), after)
  }
}

/** Answers as for a static file: the whole file, or the range that was asked for. */
export function sealed(body: Buffer, { etag = '"id.1"', until, after = 'end' }: GrowingOptions = {}): Script {
  return (response, request) => {
    const range = /^bytes=(\d+)-/.exec(request.headers.range ?? '')
    const matches = request.headers['if-range'] === undefined || request.headers['if-range'] === etag
    const from = range !== null && matches ? Number(range[1]) : 0
    if (from >= body.length) {
      response.writeHead(416, { 'content-range': `bytes */${body.length}`, etag }).end()
      return
    }
    const head: Record<string, string | number> = { etag, 'content-length': body.length - from }
    if (from > 0) head['content-range'] = `bytes ${from}-${body.length - 1}/${body.length}`
    response.writeHead(from > 0 ? 206 : 200, head)
    send(response, body.subarray(from, until), after)
  }
}

function send(response: ServerResponse, bytes: Buffer, after: 'end' | 'reset' | 'hang'): void {
  response.write(bytes, () => {
    if (after === 'end') response.end()
    // A reset overtakes bytes that were just written, so it is delayed a little.
    if (after === 'reset') setTimeout(() => response.socket?.resetAndDestroy(), 20)
  })
}

export function status(code: number, headers: Record<string, string> = {}): Script {
  return (response) => void response.writeHead(code, headers).end('what the body says does not matter')
}
