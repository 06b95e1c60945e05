// Two origins on loopback that speak HTTP/2 and refuse HTTP/1.1: one uses node:http2, one writes bare frames to break the protocol.
import { once } from 'node:events'
import {
  constants,
  createSecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import { makeIdentity } from './origin.ts'

export type H2Behaviour = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void | Promise<void>

export interface H2OriginOptions {
  /** If true it speaks HTTP/1.1 too, and answers each such request with its path. @default false */
  http1?: boolean
  settings?: Settings
}

interface TlsOrigin extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly ca: string
  readonly openSockets: number
  readonly maxOpenSockets: number
  /** Handshakes that failed, for example because the client did not offer HTTP/2. */
  readonly refused: number
  /** Handshakes that resumed an earlier TLS session. */
  readonly resumed: number
}

export interface H2Origin extends TlsOrigin {
  /** The version and path of each request, in the order they came. */
  readonly requests: readonly string[]
  readonly sessions: number
  /** Answers `path` with this behaviour from now on, and returns its URL. Any other path is a 404. */
  serve(path: string, behaviour: H2Behaviour): string
  /** Cuts all connections by RST. */
  reset(): void
}

interface Listening {
  on(event: 'connection' | 'secureConnection', listener: (socket: TLSSocket) => void): unknown
  on(event: 'tlsClientError', listener: () => void): unknown
  listen(port: number, host: string): unknown
  address(): unknown
  close(): unknown
}

interface Pems {
  readonly key: string
  readonly cert: string
  readonly ca: string
}

let made: Promise<Pems> | null = null

/** Makes one identity for all origins of the process, because making keys takes time. */
function identity(): Promise<Pems> {
  made ??= (async () => {
    await using fresh = await makeIdentity('trusted', '127.0.0.1')
    return { key: fresh.key, cert: fresh.cert, ca: fresh.ca! }
  })()
  return made
}

/** Listens for either origin: it counts sockets, and destroys them all when the origin is disposed. */
async function listen(server: Listening, ca: string, owned: AsyncDisposableStack) {
  const sockets = new Set<Socket>()
  const counts = { max: 0, refused: 0, resumed: 0 }
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    counts.max = Math.max(counts.max, sockets.size)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('secureConnection', (socket) => {
    if (socket.isSessionReused()) counts.resumed++
    socket.on('error', () => {})
  })
  server.on('tlsClientError', () => counts.refused++)
  server.listen(0, '127.0.0.1')
  await once(server as never, 'listening')
  owned.defer(async () => {
    server.close()
    const closed = Array.from(sockets, (socket) => new Promise((resolve) => socket.once('close', resolve)))
    for (const socket of sockets) socket.destroy()
    await Promise.all(closed)
  })
  const { port } = server.address() as AddressInfo
  return {
    sockets,
    origin: {
      url: `https://127.0.0.1:${port}`,
      port,
      ca,
      get openSockets() {
        return sockets.size
      },
      get maxOpenSockets() {
        return counts.max
      },
      get refused() {
        return counts.refused
      },
      get resumed() {
        return counts.resumed
      },
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    },
  }
}

export async function startH2Origin({ http1 = false, settings }: H2OriginOptions = {}): Promise<H2Origin> {
  const owned = new AsyncDisposableStack()
  const { key, cert, ca } = await identity()
  const server = createSecureServer({ key, cert, allowHTTP1: http1, ...(settings && { settings }) })
  const requests: string[] = []
  const scripts = new Map<string, H2Behaviour>()
  let sessions = 0
  server.on('session', (session: ServerHttp2Session) => {
    sessions++
    session.on('error', () => {})
  })
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    const path = String(headers[constants.HTTP2_HEADER_PATH])
    requests.push(`2.0 ${path}`)
    stream.on('error', () => {})
    const behaviour = scripts.get(path)
    if (behaviour) void behaviour(stream, headers)
    else stream.respond({ ':status': 404 }, { endStream: true })
  })
  // This event also fires for HTTP/2 streams, so it has a listener only if HTTP/1.1 is wanted.
  if (http1) {
    server.on('request', (request, response) => {
      requests.push(`${request.httpVersion} ${request.url}`)
      response.end(request.url)
    })
  }
  const { origin, sockets } = await listen(server as unknown as Listening, ca, owned)
  const own = {
    requests,
    get sessions() {
      return sessions
    },
    serve(path: string, behaviour: H2Behaviour) {
      scripts.set(path, behaviour)
      return origin.url + path
    },
    reset() {
      for (const socket of sockets) socket.resetAndDestroy()
    },
  }
  // A spread would call the getters; this copies them.
  return Object.defineProperties(origin, Object.getOwnPropertyDescriptors(own)) as typeof origin & typeof own
}

/** Types of frames: RFC 9113 section 6. */
const FRAMES = { data: 0, headers: 1, reset: 3, settings: 4 } as const
const END_STREAM = 1
const ACK = 1
const END_HEADERS = 4
/** RFC 7541 appendix A, index 8: `:status: 200`. */
const STATUS_200 = Buffer.from([0x88])
const PREFACE_BYTES = 24
const HEADER_BYTES = 9
const MAX_FRAME_BYTES = 16_384

/** Answers one request: each method sends a frame on its stream. */
export interface FrameStream {
  head(): void
  data(bytes: Buffer, isLast?: boolean): void
  reset(code: number): void
}

/** It does no flow control, so bodies must fit into the first window (64 KiB). */
export async function startFrameOrigin(answer: (stream: FrameStream) => void): Promise<TlsOrigin> {
  const owned = new AsyncDisposableStack()
  const { key, cert, ca } = await identity()
  const server = createServer({ key, cert, ALPNProtocols: ['h2'] }, (socket) => {
    let unread: Buffer = Buffer.alloc(0)
    let isBegun = false
    const send = (type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)) => {
      const header = Buffer.alloc(HEADER_BYTES)
      header.writeUIntBE(payload.length, 0, 3)
      header[3] = type
      header[4] = flags
      header.writeUInt32BE(stream, 5)
      socket.write(Buffer.concat([header, payload]))
    }
    send(FRAMES.settings, 0, 0)
    socket.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk])
      if (!isBegun && unread.length >= PREFACE_BYTES) {
        isBegun = true
        unread = unread.subarray(PREFACE_BYTES)
      }
      while (isBegun && unread.length >= HEADER_BYTES && unread.length >= HEADER_BYTES + unread.readUIntBE(0, 3)) {
        const [type, flags, stream] = [unread[3], unread[4], unread.readUInt32BE(5)]
        unread = unread.subarray(HEADER_BYTES + unread.readUIntBE(0, 3))
        if (type === FRAMES.settings && flags !== ACK) send(FRAMES.settings, ACK, 0)
        if (type !== FRAMES.headers) continue
        answer({
          head: () => send(FRAMES.headers, END_HEADERS, stream, STATUS_200),
          data(bytes, isLast = false) {
            for (let at = 0; at < bytes.length; at += MAX_FRAME_BYTES) {
              const isEnd = isLast && at + MAX_FRAME_BYTES >= bytes.length
              send(FRAMES.data, isEnd ? END_STREAM : 0, stream, bytes.subarray(at, at + MAX_FRAME_BYTES))
            }
          },
          reset(code) {
            const payload = Buffer.alloc(4)
            payload.writeUInt32BE(code)
            send(FRAMES.reset, 0, stream, payload)
          },
        })
      }
    })
  })
  return (await listen(server as unknown as Listening, ca, owned)).origin
}
