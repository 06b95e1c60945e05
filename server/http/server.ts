// The one HTTP server: guards first, then procedures, archives, health and the page; websockets by upgrade.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { ArchiveApi } from '#contracts/api.ts'
import { PROTOCOL_HEADER, paths } from '#contracts/wire.ts'
import type { ArchiveReading } from '../archives/reading.ts'
import { createBlockPool } from '../lib/blocks.ts'
import { describe, type Log } from '../lib/log.ts'
import { createDownload } from './download.ts'
import { type GuardPolicy, judgeRequest } from './guards.ts'
import { clientAddress, type HttpLimits } from './limits.ts'
import { listenWidely } from './listen.ts'
import type { Pages } from './pages.ts'
import { createTrpcEndpoints, trpcPath } from './trpc.ts'

export interface HttpServerOptions {
  host: string
  port: number
  api: ArchiveApi
  openReading(address: string): Promise<ArchiveReading | null>
  pages: Pages
  guard: GuardPolicy
  log: Log
  /** Largest message: a manifest and what stands around it. */
  maxMessageBytes: number
  maxSockets: number
  limits: HttpLimits
  slowReaderMs: number
  downloadIdleTimeoutMs: number
  downloadMinBytesPerSecond: number
  downloadTimeoutMs: number
}

export interface HttpServer extends AsyncDisposable {
  /** As bound: the port is a real one also where 0 was asked for. */
  readonly url: string
  readonly port: number
  /** No new connections; clients are told to reconnect. */
  stopAccepting(): void
}

/** Downloads under way may go on this long when the server closes. */
const CLOSE_GRACE_MS = 3_000
/** What is read into at a time and written as one; of each download that a client takes quickly, one block is out. */
const DOWNLOAD_BLOCK_BYTES = 512 * 1024
const DOWNLOAD_BLOCKS_BYTES = 64 * 1024 * 1024

export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, api, pages, guard, limits, log, maxMessageBytes } = options
  const wss = new WebSocketServer({
    noServer: true,
    maxPayload: maxMessageBytes,
    perMessageDeflate: false,
    clientTracking: true,
  })
  const trpc = createTrpcEndpoints(wss, {
    api,
    log,
    limits,
    maxBodyBytes: maxMessageBytes,
    slowReaderMs: options.slowReaderMs,
  })
  const blocks = createBlockPool({ blockBytes: DOWNLOAD_BLOCK_BYTES, maxBytes: DOWNLOAD_BLOCKS_BYTES })
  const download = createDownload({
    openReading: options.openReading,
    blocks,
    log,
    idleTimeoutMs: options.downloadIdleTimeoutMs,
    minBytesPerSecond: options.downloadMinBytesPerSecond,
    maxDurationMs: options.downloadTimeoutMs,
  })
  const sockets = new Set<Socket>()
  let closing = false

  const server = createServer(
    { requestTimeout: 60_000, headersTimeout: 15_000, keepAliveTimeout: 10_000 },
    (req, res) => {
      route(req, res).catch((error) => {
        log.error('request failed', { path: pathOf(req), error: describe(error) })
        if (res.headersSent) res.destroy()
        else plain(res, 500, 'internal error\n')
      })
    },
  )
  server.on('connection', (socket: Socket) => {
    // By hand, as `maxConnections` would count those of each listening socket apart.
    if (sockets.size >= options.maxSockets) {
      socket.destroy()
      return
    }
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })

  async function route(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const pathname = pathOf(req)
    const procedure = trpcPath(pathname)
    const verdict = judgeRequest(factsOf(req), guard, procedure !== null)
    if (verdict !== 'ok') return plain(res, verdict.status, `${verdict.reason}\n`)
    if (closing) res.setHeader('connection', 'close')
    const { origin } = req.headers
    if (origin !== undefined && guard.allowedOrigins.has(origin)) {
      allowOrigin(res, origin)
      if (req.method === 'OPTIONS') {
        res.writeHead(204).end()
        return
      }
    }
    if (procedure !== null) return trpc.handleHttp(req, res, procedure)
    if (pathname.startsWith(`${paths.archives}/`)) {
      const [address = '', fileName, more] = pathname.slice(paths.archives.length + 1).split('/')
      using place = limits.downloads.take(clientAddress(req, limits.trustProxy))
      if (place === null) {
        res.setHeader('retry-after', '5')
        return plain(res, 429, 'too many downloads at a time\n')
      }
      return await download(req, res, fileName === undefined || more !== undefined ? '' : address)
    }
    if (pathname === paths.health) return plain(res, closing ? 503 : 200, closing ? 'shutting down\n' : 'ok\n')
    pages(req, res, () => plain(res, 404, 'nothing here\n'))
  }

  server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    const verdict = judgeRequest(factsOf(req), guard, true)
    if (pathOf(req) !== paths.trpc) return refuseUpgrade(socket, 404, 'websockets are under /trpc')
    if (verdict !== 'ok') return refuseUpgrade(socket, verdict.status, verdict.reason)
    if (closing) return refuseUpgrade(socket, 503, 'shutting down')
    const place = limits.websockets.take(clientAddress(req, limits.trustProxy))
    if (place === null) return refuseUpgrade(socket, 429, 'too many websockets')
    socket.once('close', () => place[Symbol.dispose]())
    wss.handleUpgrade(req, socket, head, (client) => wss.emit('connection', client, req))
  })

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
      const closed = new Promise<void>((resolve) => {
        const check = setInterval(() => {
          if (sockets.size > 0) return
          clearInterval(check)
          resolve()
        }, 20)
        setTimeout(() => {
          for (const socket of sockets) socket.destroy()
        }, CLOSE_GRACE_MS).unref()
      })
      await closed
      blocks[Symbol.dispose]()
    },
  }
}

function factsOf({ headers }: IncomingMessage) {
  const fetchSite = headers['sec-fetch-site']
  return {
    host: headers.host,
    origin: headers.origin,
    fetchSite: typeof fetchSite === 'string' ? fetchSite : undefined,
  }
}

function pathOf({ url = '/' }: IncomingMessage): string {
  const end = url.search(/[?#]/)
  return end < 0 ? url : url.slice(0, end)
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

function refuseUpgrade(socket: Duplex, status: number, reason: string): void {
  const body = `${reason}\n`
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
}
