// One connection of the agent's, held to the same promises over HTTP/2 as over HTTP/1.1. Dials nothing itself.
import { subscribe } from 'node:diagnostics_channel'
import type { ClientHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { type buildConnector, Client, type Dispatcher } from 'undici'

/** An origin that lets no stream begin for so long is given up: no deadline of a request's own reaches it before that. */
const NO_STREAM_TIMEOUT_MS = 30_000

/** What came in on the stream of the current request. */
interface Incoming {
  bytes: number
  /** By END_STREAM: node:http2 lets it end as well when it was reset (RST_STREAM with NO_ERROR) or abandoned. */
  isEnded: boolean
}

/** Connections that are being opened, by the handler of the request they are opened for; each settles when that is over. */
export type Dials = Map<Dispatcher.DispatchHandler, Promise<void>>

/** Set on a socket of HTTP/2, and read through its session. */
const CONNECTION = Symbol('connection')

/**
 * One request at a time, in both versions, so that the cap on connections bounds what is open, and a request that is
 * aborted or broken closes its connection: a session that died in silence would otherwise be given to the next one.
 */
export class Connection extends Client {
  #socket: Socket | null = null
  #handler: Dispatcher.DispatchHandler | null = null
  incoming: Incoming | null = null

  constructor(origin: string | URL, { connect, ...options }: Client.Options, dials: Dials) {
    const open = withDials(connect as buildConnector.connector, dials, () => this.#handler)
    super(origin, {
      ...options,
      headersTimeout: NO_STREAM_TIMEOUT_MS,
      h2Options: { maxConcurrentStreams: 1 },
      connect: (target, callback) =>
        open(target, (...[error, socket]) => {
          if (error !== null) return callback(error, null)
          this.#socket = 'alpnProtocol' in socket && socket.alpnProtocol === 'h2' ? socket : null
          if (this.#socket !== null) Object.assign(this.#socket, { [CONNECTION]: this })
          callback(null, socket)
        }),
    } as Client.Options)
  }

  override dispatch(request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.#handler = handler
    const watched = String(request.origin).startsWith('https:') ? new Watched(this, handler) : handler
    return super.dispatch({ ...request, headersTimeout: 0 }, watched)
  }

  /** Over HTTP/1.1 undici knows by itself; a stream of which nothing is known is not trusted. */
  isWhole(bytes: number): boolean {
    return this.#socket === null || (this.incoming?.isEnded === true && this.incoming.bytes === bytes)
  }

  /** undici closes it by itself over HTTP/1.1. */
  drop(): void {
    this.#socket?.destroy()
  }
}

function withDials(
  open: buildConnector.connector,
  dials: Dials,
  handlerOf: () => Dispatcher.DispatchHandler | null,
): buildConnector.connector {
  return (target, callback) => {
    const handler = handlerOf()
    if (handler === null) return open(target, callback)
    const { promise, resolve } = Promise.withResolvers<void>()
    dials.set(handler, promise)
    open(target, (...outcome) => {
      dials.delete(handler)
      resolve()
      callback(...outcome)
    })
  }
}

/**
 * undici takes a body without a length for whole however its stream ended, and drops what a paused one still holds when
 * trailers come. What was read from the connection must have been delivered, and its end been told.
 */
class Watched implements Dispatcher.DispatchHandler {
  readonly #connection: Connection
  readonly #handler: Dispatcher.DispatchHandler
  #bytes = 0

  constructor(connection: Connection, handler: Dispatcher.DispatchHandler) {
    this.#connection = connection
    this.#handler = handler
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    // Called again where a request is sent again because its stream was refused.
    this.#connection.incoming = null
    this.#handler.onRequestStart?.(controller, context)
  }

  onResponseStart(...response: Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>): void {
    this.#handler.onResponseStart?.(...response)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length
    this.#handler.onResponseData?.(controller, chunk)
  }

  onResponseEnd(...[controller, trailers]: Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseEnd']>>): void {
    if (this.#connection.isWhole(this.#bytes)) this.#handler.onResponseEnd?.(controller, trailers)
    else this.onResponseError(controller, new Error('the stream ended before its body did'))
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    this.#handler.onResponseError?.(controller, error)
    this.#connection.drop()
  }
}

/** undici does not show its streams; Node tells of each, while it is made. */
subscribe('http2.client.stream.created', (message) => {
  const { stream } = message as { stream: ClientHttp2Stream }
  const connection = (stream.session?.socket as { [CONNECTION]?: Connection } | undefined)?.[CONNECTION]
  if (connection === undefined) return
  const watched: Incoming = { bytes: 0, isEnded: false }
  connection.incoming = watched
  const push = stream.push
  stream.push = (chunk: Buffer | null, encoding) => {
    if (chunk !== null) watched.bytes += chunk.length
    // A stream that is reset is closed first and ended then.
    else if (!stream.closed) watched.isEnded = true
    return push.call(stream, chunk, encoding)
  }
})
