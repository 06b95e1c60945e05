// One connection of the agent. It keeps the same promises over HTTP/2 as over HTTP/1.1. Dials nothing itself.
import { subscribe } from 'node:diagnostics_channel'
import type { ClientHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { type buildConnector, Client, type Dispatcher } from 'undici'

/**
 * A connection is closed if no stream begins for this long. Before one begins, no deadline of a request can close it.
 */
const NO_STREAM_TIMEOUT_MS = 30_000

/** What has arrived on the stream of the current request. */
interface Incoming {
  bytes: number
  /**
   * True only after END_STREAM. node:http2 also ends a stream that was reset (RST_STREAM with NO_ERROR) or abandoned.
   */
  isEnded: boolean
}

/**
 * Connections that are being opened, by the handler of their request. A promise settles once the connection is open or
 * has failed.
 */
export type Dials = Map<Dispatcher.DispatchHandler, Promise<void>>

/** Set on an HTTP/2 socket, so that a stream finds its connection by way of its session. */
const CONNECTION = Symbol('connection')

/**
 * Carries one request at a time in both versions, so that the cap on connections also bounds the requests. A request
 * that is aborted or breaks closes its connection. Otherwise the next request could get a dead session.
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
          socket.on('error', renameReset)
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

  /** undici checks this itself over HTTP/1.1. An HTTP/2 stream that was not seen is not trusted. */
  isWhole(bytes: number): boolean {
    return this.#socket === null || (this.incoming?.isEnded === true && this.incoming.bytes === bytes)
  }

  /** Closes an HTTP/2 connection. undici itself closes one of HTTP/1.1. */
  drop(): void {
    this.#socket?.destroy()
  }
}

/**
 * Over HTTP/1.1, undici takes a reset for the end of a body that ends with its connection, but it may have cut the body anywhere. It
 * looks only at the code. This listener comes before undici's own.
 */
function renameReset(error: NodeJS.ErrnoException): void {
  if (error.code === 'ECONNRESET') error.code = 'SHEAF_RESET'
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
 * undici takes a body without a length for whole, however its stream ended. When trailers come, it drops the bytes that
 * a paused body still holds. So a body counts as whole only if all bytes that were read from the stream were delivered,
 * and the stream ended by END_STREAM.
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
    // undici sends a request again if its stream was refused, and then calls this again.
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

/** undici does not expose its streams, but Node publishes each one when it is created. */
subscribe('http2.client.stream.created', (message) => {
  const { stream } = message as { stream: ClientHttp2Stream }
  const connection = (stream.session?.socket as { [CONNECTION]?: Connection } | undefined)?.[CONNECTION]
  if (connection === undefined) return
  const watched: Incoming = { bytes: 0, isEnded: false }
  connection.incoming = watched
  const push = stream.push
  stream.push = (chunk: Buffer | null, encoding) => {
    if (chunk !== null) watched.bytes += chunk.length
    // A stream that is reset is closed before it ends.
    else if (!stream.closed) watched.isEnded = true
    return push.call(stream, chunk, encoding)
  }
})
