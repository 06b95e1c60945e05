// Hands tRPC its requests over websocket and HTTP, and adds what its adapters lack: backpressure and dropping slow readers.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { nodeHTTPRequestHandler } from '@trpc/server/adapters/node-http'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import type { WebSocket, WebSocketServer } from 'ws'
import type { ArchiveApi } from '#contracts/api.ts'
import { createRouter, type RouterContext } from '#contracts/router.ts'
import { PROTOCOL_HEADER, paths } from '#contracts/wire.ts'
import { describe, type Log } from '../lib/log.ts'
import { createQuota } from '../lib/quota.ts'
import { clientAddress, type HttpLimits, limitWatches } from './limits.ts'

/** Above this, a client gets nothing new until it has read; progress is merged meanwhile. */
const HIGH_WATER_BYTES = 1024 * 1024
/** Frequent enough to keep proxies' idle timers quiet, and to notice a dead peer within a minute. */
const PING_EVERY_MS = 25_000

/** Close code of a client that was dropped because it did not read; it may come back and resume. */
export const TOO_SLOW_CLOSE_CODE = 4008

export interface TrpcOptions {
  api: ArchiveApi
  log: Log
  limits: HttpLimits
  maxBodyBytes: number
  /** A client that reads nothing of its backlog for this long is dropped. */
  slowReaderMs: number
}

export interface TrpcEndpoints {
  handleHttp(req: IncomingMessage, res: ServerResponse, path: string): Promise<void>
  /** Tells all clients to open a new connection, to wherever the next server listens. */
  askToReconnect(): void
}

export function createTrpcEndpoints(
  wss: WebSocketServer,
  { api, log, limits, maxBodyBytes, slowReaderMs }: TrpcOptions,
): TrpcEndpoints {
  const router = createRouter()

  const contextOf = (
    req: IncomingMessage,
    protocol: string | null,
    backlog: () => number,
    drop: () => void,
    gone: AbortSignal,
  ): RouterContext => {
    const address = clientAddress(req, limits.trustProxy)
    // One context a connection: its own subscriptions are counted here.
    const own = createQuota({ perKey: limits.maxSubscriptionsPerSocket, inAll: Number.POSITIVE_INFINITY })
    return {
      api: limitWatches(api, [
        { quota: own, key: '' },
        { quota: limits.subscriptions, key: address },
      ]),
      caller: { principal: '', address },
      protocol,
      gone,
      async readyForNext(signal) {
        const giveUpAt = performance.now() + slowReaderMs
        while (backlog() > HIGH_WATER_BYTES) {
          if (performance.now() > giveUpAt) {
            log.info('slow reader dropped', { from: address, backlog: backlog() })
            drop()
            throw new DOMException('the client reads too slowly', 'AbortError')
          }
          await sleep(50, undefined, { signal })
        }
      },
    }
  }

  const onError = ({ error, path }: { error: Error & { code?: string }; path?: string | undefined }) => {
    if (error.code !== 'INTERNAL_SERVER_ERROR') return
    const cause = error.cause ?? error
    // What ws says of a client that breaks the protocol; that costs the client its socket, and nobody else anything.
    const isClients = String((cause as { code?: unknown }).code).startsWith('WS_ERR_')
    if (isClients) log.info('websocket dropped', { error: describe(cause) })
    else log.error('procedure failed', { path, error: describe(cause) })
  }

  const handler = applyWSSHandler({
    wss,
    router,
    createContext({ req, res, info }) {
      const socket = res as WebSocket
      const protocol = info.connectionParams?.[PROTOCOL_HEADER] ?? null
      return contextOf(
        req,
        protocol,
        () => socket.bufferedAmount,
        // The frame waits behind the backlog; ws ends the socket half a minute later if that is never read.
        () => socket.close(TOO_SLOW_CLOSE_CODE, 'reads too slowly'),
        info.signal,
      )
    },
    keepAlive: { enabled: true, pingMs: PING_EVERY_MS, pongWaitMs: 10_000 },
    maxBatchSize: 32,
    onError,
  })

  return {
    async handleHttp(req, res, path) {
      const header = req.headers[PROTOCOL_HEADER]
      await nodeHTTPRequestHandler({
        req,
        res,
        path,
        router,
        maxBodySize: maxBodyBytes,
        maxBatchSize: 32,
        // A query by POST keeps its input, and with it the archive key, out of the URL.
        allowMethodOverride: true,
        createContext({ info }) {
          // An EventSource sends no header of its own.
          const protocol = typeof header === 'string' ? header : (info.connectionParams?.[PROTOCOL_HEADER] ?? null)
          return contextOf(
            req,
            protocol,
            () => res.writableLength,
            () => res.destroy(),
            info.signal,
          )
        },
        onError,
      })
    },
    askToReconnect: () => handler.broadcastReconnectNotification(),
  }
}

/** The procedure path under /trpc; null for anything else. */
export function trpcPath(pathname: string): string | null {
  return pathname.startsWith(`${paths.trpc}/`) ? pathname.slice(paths.trpc.length + 1) : null
}
