// The one HTTP server: asks the guards first, then serves procedures, archives, health and the page, and websockets by
// upgrade.
import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { ArchiveApi } from '#contracts/api.ts'
import { PROTOCOL_HEADER, paths } from '#contracts/wire.ts'
import type { ArchiveReading } from '../archives/views/reading.ts'
import { createBlockPool } from '../lib/blocks.ts'
import { describe, type Log } from '../lib/log.ts'
import { createTurns } from '../lib/turns.ts'
import { clientOf, lastOf } from './clients.ts'
import { createDownload } from './download.ts'
import { type GuardPolicy, judgeRequest } from './guards.ts'
import { createDiscards, type IncomingLimits } from './incoming.ts'
import { BEGUN_AT_A_TIME, DOWNLOAD_BLOCKS_BYTES, HEAD_MS, PIPELINED_REQUESTS, RECEIVE_MS } from './ledger.ts'
import type { HttpLimits } from './limits.ts'
import { listenWidely } from './listen.ts'
import { ScreenedSocket } from './messages.ts'
import type { Pages } from './pages.ts'
import { createSockets } from './sockets.ts'
import { isWebsocket, pathOf, settleTarget } from './target.ts'
import { createTrpcEndpoints, trpcPath } from './trpc.ts'

export interface HttpServerOptions {
  host: string
  port: number
  api: ArchiveApi
  openReading(address: string): Promise<ArchiveReading | null>
  pages: Pages
  guard: GuardPolicy
  log: Log
  /** Limits of a message, which is a manifest and its envelope. */
  incoming: IncomingLimits
  maxSockets: number
  maxSocketsPerClient: number
  limits: HttpLimits
  slowReaderMs: number
  downloadIdleTimeoutMs: number
  downloadMinBytesPerSecond: number
  downloadTimeoutMs: number
}

export interface HttpServer extends AsyncDisposable {
  /** Has the port that was bound, even if 0 was asked for. */
  readonly url: string
  readonly port: number
  /** Accepts no new connections, and asks clients to reconnect. */
  stopAccepting(): void
}

/** Downloads under way may go on for this long when the server closes. */
const CLOSE_GRACE_MS = 3_000
/** Bytes that are read and written at a time. A download whose client is quick has one block out. */
const DOWNLOAD_BLOCK_BYTES = 512 * 1024
/** How often connections are checked for being over a deadline. */
const LOOK_EVERY_MS = 1_000
/** A websocket message may arrive in one piece for each of these, as a piece costs an object however small it is. */
const MIN_PIECE_BYTES = 1024
const MAX_FRAGMENTS = 1024

export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, api, pages, guard, limits, log, incoming, slowReaderMs } = options
  const sockets = createSockets({
    maxSockets: options.maxSockets,
    maxPerClient: limits.trustProxy ? null : options.maxSocketsPerClient,
    slowReaderMs,
    onSlow: (socket) => log.info('slow reader dropped', { from: socket.remoteAddress, backlog: socket.writableLength }),
  })
  const wss = new WebSocketServer({
    noServer: true,
    WebSocket: ScreenedSocket,
    // Each websocket emits one message in a turn of the loop, so a burst of thousands does not keep the others waiting.
    allowSynchronousEvents: false,
    maxPayload: incoming.maxBytes,
    maxBufferedChunks: Math.ceil(incoming.maxBytes / MIN_PIECE_BYTES) + MAX_FRAGMENTS,
    maxFragments: MAX_FRAGMENTS,
    perMessageDeflate: false,
    clientTracking: true,
  })
  const discards = createDiscards()
  const turns = createTurns(BEGUN_AT_A_TIME)
  const trpc = createTrpcEndpoints(wss, { api, log, limits, incoming, sockets, discards, turns })
  const blocks = createBlockPool({ blockBytes: DOWNLOAD_BLOCK_BYTES, maxBytes: DOWNLOAD_BLOCKS_BYTES })
  const download = createDownload({
    openReading: options.openReading,
    blocks,
    log,
    idleTimeoutMs: options.downloadIdleTimeoutMs,
    minBytesPerSecond: options.downloadMinBytesPerSecond,
    maxDurationMs: options.downloadTimeoutMs,
  })
  let closing = false

  const server = createServer(
    {
      requestTimeout: RECEIVE_MS,
      headersTimeout: HEAD_MS,
      keepAliveTimeout: 10_000,
      connectionsCheckingInterval: LOOK_EVERY_MS,
      shouldUpgradeCallback: isWebsocket,
    },
    take,
  )
  server.on('connection', (socket: Socket) => sockets.accept(socket))
  // Handled like any request: the receiver of the body sends the 100.
  server.on('checkContinue', take)

  function take(req: IncomingMessage, res: ServerResponse): void {
    const { socket } = req
    const busy = sockets.busyOf(socket) + 1
    if (busy > PIPELINED_REQUESTS) {
      socket.destroy()
      stopParsing(socket)
      return
    }
    sockets.setBusy(socket, busy)
    res.once('close', () => sockets.setBusy(socket, sockets.busyOf(socket) - 1))
    route(req, res).catch((error) => {
      log.error('request failed', { path: pathOf(req), error: describe(error) })
      if (res.headersSent) res.destroy()
      else plain(res, 500, 'internal error\n')
    })
  }

  async function route(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (!turns.take()) await turns.next(clientOf(req, limits.trustProxy))
    if (res.destroyed) return
    const badTarget = settleTarget(req)
    if (badTarget !== null) return plain(res, 400, `${badTarget}\n`)
    const pathname = pathOf(req)
    const procedure = trpcPath(pathname)
    const verdict = judgeRequest(factsOf(req, limits), guard, procedure !== null)
    if (verdict !== 'ok') return plain(res, verdict.status, `${verdict.reason}\n`)
    if (closing) res.setHeader('connection', 'close')
    // "*" asks about the server as a whole (RFC 9110 section 9.3.7).
    if (pathname === '*') {
      res.writeHead(204, { allow: 'GET, HEAD, POST, OPTIONS' }).end()
      return
    }
    const { origin } = req.headers
    if (origin !== undefined && guard.allowedOrigins.has(origin)) {
      allowOrigin(res, origin)
      if (req.method === 'OPTIONS') {
        res.writeHead(204).end()
        return
      }
    }
    if (procedure !== null) return trpc.handleHttp(req, res, procedure)
    await discards.letBy(req, res, clientOf(req, limits.trustProxy))
    if (res.destroyed) return
    if (pathname.startsWith(`${paths.archives}/`)) {
      const [address = '', fileName, more] = pathname.slice(paths.archives.length + 1).split('/')
      using place = limits.downloads.take(clientOf(req, limits.trustProxy))
      if (place === null) {
        res.setHeader('retry-after', '5')
        return plain(res, 429, 'too many downloads at a time\n')
      }
      sockets.setWatched(req.socket, true)
      try {
        return await download(req, res, fileName === undefined || more !== undefined ? '' : address)
      } finally {
        sockets.setWatched(req.socket, false)
      }
    }
    if (pathname === paths.health) return plain(res, closing ? 503 : 200, closing ? 'shutting down\n' : 'ok\n')
    pages(req, res, () => plain(res, 404, 'nothing here\n'))
  }

  async function upgrade(req: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    if (!turns.take()) await turns.next(clientOf(req, limits.trustProxy))
    if (socket.destroyed) return
    const badTarget = settleTarget(req)
    if (badTarget !== null) return refuseUpgrade(socket, 400, badTarget)
    const verdict = judgeRequest(factsOf(req, limits), guard, true)
    if (verdict !== 'ok') return refuseUpgrade(socket, verdict.status, verdict.reason)
    if (closing) return refuseUpgrade(socket, 503, 'shutting down')
    const place = limits.websockets.take(clientOf(req, limits.trustProxy))
    if (place === null) return refuseUpgrade(socket, 429, 'too many websockets')
    socket.once('close', () => place[Symbol.dispose]())
    wss.handleUpgrade(req, socket, head, (client) => trpc.handleSocket(client, req))
  }
  server.on('upgrade', (req: IncomingMessage, duplex: Duplex, head: Buffer) => {
    const socket = duplex as Socket
    socket.on('error', () => socket.destroy())
    upgrade(req, socket, head).catch((error) => {
      log.error('upgrade failed', { path: pathOf(req), error: describe(error) })
      socket.destroy()
    })
  })
  // This server is not a proxy and makes no tunnels (RFC 9110 section 9.3.6).
  server.on('connect', (_req, socket: Duplex) => {
    socket.on('error', () => socket.destroy())
    refuseUpgrade(socket as Socket, 405, 'this is not a proxy')
  })

  const looking = setInterval(
    () => {
      const nowMs = performance.now()
      sockets.look(nowMs)
      trpc.look(nowMs)
    },
    Math.min(LOOK_EVERY_MS, slowReaderMs / 4),
  )
  const listening = await listenWidely(server, { host, port: options.port })
  const { port } = listening

  return {
    port,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    stopAccepting() {
      closing = true
      listening.stop()
      server.closeIdleConnections()
      trpc.askToReconnect()
    },
    async [Symbol.asyncDispose]() {
      // 1012: service restart.
      for (const client of wss.clients) client.close(1012, 'restarting')
      server.closeIdleConnections()
      const cutOff = setTimeout(() => {
        for (const socket of sockets.open) socket.destroy()
      }, CLOSE_GRACE_MS)
      await sockets.whenNoneIsOpen()
      clearTimeout(cutOff)
      clearInterval(looking)
      blocks[Symbol.dispose]()
    },
  }
}

/**
 * One packet may hold thousands of requests. Node parses all that it has read, so it would still make the requests
 * behind this one and abort each, at ten times the cost.
 */
function stopParsing(socket: Socket): void {
  const { parser } = socket as { parser?: { onIncoming: (() => number) | null } | null }
  if (parser) parser.onIncoming = () => 0
}

function factsOf({ headers }: IncomingMessage, { trustProxy }: HttpLimits) {
  const fetchSite = headers['sec-fetch-site']
  const forwarded = trustProxy ? lastOf(headers['x-forwarded-proto']).toLowerCase() : ''
  return {
    host: headers.host,
    origin: headers.origin,
    fetchSite: typeof fetchSite === 'string' ? fetchSite : undefined,
    scheme: forwarded === 'http' || forwarded === 'https' ? forwarded : null,
  } as const
}

function plain(res: ServerResponse, status: number, text: string): void {
  res.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' }).end(text)
}

function allowOrigin(res: ServerResponse, origin: string): void {
  res.setHeader('access-control-allow-origin', origin)
  res.setHeader('vary', 'origin')
  res.setHeader('access-control-allow-methods', 'GET, HEAD, POST')
  res.setHeader('access-control-allow-headers', `content-type, range, if-range, trpc-accept, ${PROTOCOL_HEADER}`)
  res.setHeader('access-control-expose-headers', 'content-range, content-disposition, etag')
}

function refuseUpgrade(socket: Socket, status: number, reason: string): void {
  const body = `${reason}\n`
  socket.write(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  // Does not wait for the client to close its side.
  socket.destroySoon()
}
