// Hands tRPC its requests over websocket and HTTP. Bounds what is received and answered: tRPC's adapters do not.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate as breathe, setTimeout as sleep } from 'node:timers/promises'
import { nodeHTTPRequestHandler } from '@trpc/server/adapters/node-http'
import { getWSConnectionHandler } from '@trpc/server/adapters/ws'
import type { WebSocketServer } from 'ws'
import type { ArchiveApi } from '#contracts/api.ts'
import { Refusal } from '#contracts/failures.ts'
import { asTrpcError, createRouter, type RouterContext } from '#contracts/router.ts'
import { PROTOCOL_HEADER, paths } from '#contracts/wire.ts'
import { createByteBudget } from '../lib/byte-budget.ts'
import { describe, type Log } from '../lib/log.ts'
import { createQuota, type Quota } from '../lib/quota.ts'
import { createTurns, type Turns } from '../lib/turns.ts'
import { boundAnswers, type Outlet } from './answers.ts'
import { clientOf } from './clients.ts'
import { type Discards, GoneError, hold, type IncomingLimits, receiveCall } from './incoming.ts'
import { ANSWERS_BYTES, BACKLOG_BYTES, CALL_BYTES, RECEIVING_BYTES, RESPONSE_BYTES } from './ledger.ts'
import { type HttpLimits, limitWatches } from './limits.ts'
import { type Messages, type ScreenedSocket, screenMessages } from './messages.ts'
import type { Sockets } from './sockets.ts'

export interface TrpcOptions {
  api: ArchiveApi
  log: Log
  limits: HttpLimits
  incoming: IncomingLimits
  sockets: Sockets
  discards: Discards
  /** Each call takes a turn before it begins. */
  turns: Turns
}

export interface TrpcEndpoints {
  handleHttp(req: IncomingMessage, res: ServerResponse, path: string): Promise<void>
  handleSocket(client: ScreenedSocket, req: IncomingMessage): void
  /** Closes dead websockets. Call it about once a second. */
  look(nowMs: number): void
  /** Asks all clients to open a new connection, which the next server will get. */
  askToReconnect(): void
}

interface Caller {
  readonly address: string
  readonly protocol: string | null
  /** Only such a caller may change something or make us ask others. A GET may not, as a link or picture can send it. */
  readonly mayAct: boolean
  readonly outlet: Outlet
  /** Counts the watches on this one connection. */
  readonly watches: Quota
  backlog(): number
  readonly gone: AbortSignal
}

interface Connection {
  readonly client: ScreenedSocket
  readonly req: IncomingMessage
  readonly messages: Messages
  readonly watches: Quota
}

const MAX_BATCH = 32
const LARGE_BODY_LENGTH = 256 * 1024
const QUICK_TRIES = 5
const MAX_WAIT_MS = 50

export function createTrpcEndpoints(
  wss: WebSocketServer,
  { api, log, limits, incoming, sockets, discards, turns }: TrpcOptions,
): TrpcEndpoints {
  const router = createRouter()
  const receiving = createByteBudget(Math.max(RECEIVING_BYTES, 4 * incoming.maxBytes))
  const maxAnswerBytes = Math.max(RESPONSE_BYTES, incoming.maxBytes)
  const answers = createByteBudget(Math.max(ANSWERS_BYTES, 2 * maxAnswerBytes))
  const answerTurns = createTurns()
  const connections = new Set<Connection>()

  function contextOf({ address, protocol, mayAct, outlet, watches, backlog, gone }: Caller): RouterContext {
    const limited = limitWatches(api, [
      { quota: watches, key: '' },
      { quota: limits.subscriptions, key: address },
    ])
    return {
      api: boundAnswers(limited, outlet, answerTurns),
      caller: { principal: '', address },
      protocol,
      mayAct,
      gone,
      async readyForNext(signal) {
        // A client that reads is ready within a few turns of the loop. One that never reads will be cut off.
        for (let tries = 0; backlog() > BACKLOG_BYTES; tries++) {
          if (tries < QUICK_TRIES) await breathe(undefined, { signal })
          else await sleep(Math.min(MAX_WAIT_MS, tries), undefined, { signal })
        }
      },
    }
  }

  const createWatches = () => createQuota({ perKey: limits.maxSubscriptionsPerSocket, inAll: Number.POSITIVE_INFINITY })

  const onError = ({ error, path }: { error: Error & { code?: string }; path?: string | undefined }) => {
    if (error.code !== 'INTERNAL_SERVER_ERROR') return
    const cause = error.cause ?? error
    // ws reports a client that breaks the protocol with these codes. Only that client loses its socket.
    const isClients = String((cause as { code?: unknown }).code).startsWith('WS_ERR_')
    if (isClients) log.info('websocket dropped', { error: describe(cause) })
    else if ((cause as Error).name !== 'AbortError') log.error('procedure failed', { path, error: describe(cause) })
  }

  return {
    async handleHttp(req, res, path) {
      const address = clientOf(req, limits.trustProxy)
      const received = receiving.open(address)
      const calls = receiving.open(address)
      const made = answers.open(address)
      res.once('close', () => {
        received[Symbol.dispose]()
        calls[Symbol.dispose]()
        made[Symbol.dispose]()
      })
      let refusal: Refusal | null = null
      let body = ''
      try {
        hold(calls, CALL_BYTES * Math.min(MAX_BATCH, path.split(',').length))
        body = await receiveCall(req, res, received, incoming)
        // Decoding and judging a large body took long, and parsing it takes as long again.
        if (body.length > LARGE_BODY_LENGTH) await breathe()
      } catch (error) {
        if (error instanceof GoneError) return
        if (!(error instanceof Refusal)) throw error
        refusal = error
        if (refusal.retryAfterMs !== null) res.setHeader('retry-after', String(Math.ceil(refusal.retryAfterMs / 1000)))
        // A client that asked whether to send its body may still send it or not, so what comes next is not known.
        if (req.headers.expect !== undefined) res.setHeader('connection', 'close')
      }
      // A body that was received is all read; this is for one that was refused or left unread.
      await discards.letBy(req, res, address)
      await turns.next(address)
      const header = req.headers[PROTOCOL_HEADER]
      await nodeHTTPRequestHandler({
        req: Object.assign(req, { body }),
        res,
        path,
        router,
        maxBatchSize: MAX_BATCH,
        // A query by POST keeps its input, and with it the archive key, out of the URL.
        allowMethodOverride: true,
        middleware: (_req, _res, next) => next(refusal === null ? undefined : asTrpcError(refusal)),
        createContext({ info }) {
          return contextOf({
            address,
            // An EventSource sends no header of its own.
            protocol: typeof header === 'string' ? header : (info.connectionParams?.[PROTOCOL_HEADER] ?? null),
            mayAct: req.method === 'POST',
            // A batch goes out in one piece, so all its answers are held until the response is over.
            outlet: {
              key: address,
              isBatch: true,
              account: made,
              maxBytes: maxAnswerBytes,
              ready: async () => info.signal.throwIfAborted(),
              taken: async () => {},
            },
            watches: createWatches(),
            backlog: () => res.writableLength,
            gone: info.signal,
          })
        },
        onError,
      })
    },

    handleSocket(client, req) {
      const address = clientOf(req, limits.trustProxy)
      const watches = createWatches()
      const messages = screenMessages(client, req, {
        limits: incoming,
        key: address,
        turns,
        incoming: receiving.open(address),
        answers: answers.open(address),
        maxAnswerBytes,
        onMessage: () => sockets.setBusy(req.socket, 1),
      })
      const connection = { client, req, messages, watches }
      connections.add(connection)
      sockets.setLasting(req.socket)
      client.once('close', () => connections.delete(connection))
      const handle = getWSConnectionHandler({
        wss,
        router,
        createContext: ({ info }) =>
          contextOf({
            address,
            protocol: info.connectionParams?.[PROTOCOL_HEADER] ?? null,
            mayAct: true,
            outlet: messages.outlet,
            watches,
            backlog: () => client.bufferedAmount,
            gone: info.signal,
          }),
        experimental_encoder: messages.encoder,
        maxBatchSize: MAX_BATCH,
        onError,
      })
      handle(client, req)
    },

    look(nowMs) {
      for (const { messages, req, watches } of connections) {
        messages.look(nowMs)
        sockets.setBusy(req.socket, messages.calls + watches.used)
      }
    },

    askToReconnect() {
      for (const { client } of connections) client.send('{"id":null,"method":"reconnect"}')
    },
  }
}

/** Returns the procedure path under /trpc; null for any other path. */
export function trpcPath(pathname: string): string | null {
  return pathname.startsWith(`${paths.trpc}/`) ? pathname.slice(paths.trpc.length + 1) : null
}
