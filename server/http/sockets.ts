// Keeps the list of connections: decides who may have one more and which one makes way, and drops slow readers.
import type { Socket } from 'node:net'
import { leavesRoom } from '../lib/quota.ts'
import { clientKey } from './clients.ts'
import { MIN_BYTES_PER_SECOND } from './ledger.ts'

export interface SocketsOptions {
  maxSockets: number
  /** Connections from one client. Null if the peer is our own proxy, from which all of them come. */
  maxPerClient: number | null
  /** A connection that takes too little over this time of what waits for it is cut off. */
  slowReaderMs: number
  /** Called before a slow reader is cut off. */
  onSlow(socket: Socket): void
}

export interface Sockets {
  readonly open: ReadonlySet<Socket>
  /** Keeps the connection, and closes an idle one for it if there is no room. Closes it if no other makes way. */
  accept(socket: Socket): void
  /** Sets how many requests are under way on a connection. One without any makes way for a new connection. */
  setBusy(socket: Socket, requests: number): void
  busyOf(socket: Socket): number
  /** Marks a websocket. It too is idle while no call is under way, but makes way only if no other connection does. */
  setLasting(socket: Socket): void
  /** `elsewhere` is true while somebody else watches how fast the connection takes what is sent. */
  setWatched(socket: Socket, elsewhere: boolean): void
  whenNoneIsOpen(): Promise<void>
  /** Cuts slow readers off. Call it about once a second. */
  look(nowMs: number): void
}

interface Held {
  readonly client: Client
  requests: number
  isLasting: boolean
  isWatchedElsewhere: boolean
  /** Since when bytes wait to be taken, how many, and how many were taken before. Null while none wait. */
  waiting: { sinceMs: number; bytes: number; taken: number } | null
}

/** Connections without a request, longest idle first. The lasting ones are in a set of their own. */
type Idle = readonly [passing: Set<Socket>, lasting: Set<Socket>]

interface Client {
  readonly key: string
  count: number
  readonly idle: Idle
}

export function createSockets({ maxSockets, maxPerClient, slowReaderMs, onSlow }: SocketsOptions): Sockets {
  const open = new Map<Socket, Held>()
  const clients = new Map<string, Client>()
  const idle: Idle = [new Set(), new Set()]
  const waitingForNone: (() => void)[] = []

  function setIdle(socket: Socket, { client, isLasting }: Held, isIdle: boolean): void {
    const tier = Number(isLasting) as 0 | 1
    for (const set of [idle[tier], client.idle[tier]]) {
      set.delete(socket)
      if (isIdle) set.add(socket)
    }
  }

  function forget(socket: Socket): void {
    const held = open.get(socket)
    if (held === undefined) return
    open.delete(socket)
    setIdle(socket, held, false)
    if (--held.client.count === 0) clients.delete(held.client.key)
    if (open.size === 0) for (const resolve of waitingForNone.splice(0)) resolve()
  }

  /** Closes one of these. Returns false if there is none. */
  function makeWay([passing, lasting]: Idle): boolean {
    const [socket] = passing.size > 0 ? passing : lasting
    if (socket === undefined) return false
    forget(socket)
    socket.destroy()
    return true
  }

  function hasRoom(client: Client): boolean {
    if (maxPerClient === null) return open.size < maxSockets || makeWay(idle)
    if (client.count >= maxPerClient) return makeWay(client.idle)
    return leavesRoom(client.count, open.size, maxSockets) || makeWay(client.idle) || makeWay(idle)
  }

  return {
    open: {
      get size() {
        return open.size
      },
      has: (socket: Socket) => open.has(socket),
      [Symbol.iterator]: () => open.keys(),
    } as ReadonlySet<Socket>,
    accept(socket) {
      const key = clientKey(socket.remoteAddress ?? '')
      const client = clients.get(key) ?? { key, count: 0, idle: [new Set<Socket>(), new Set<Socket>()] as const }
      if (!hasRoom(client)) {
        socket.destroy()
        return
      }
      client.count++
      clients.set(key, client)
      const held = { client, requests: 0, isLasting: false, isWatchedElsewhere: false, waiting: null }
      open.set(socket, held)
      setIdle(socket, held, true)
      socket.once('close', () => forget(socket))
    },
    setBusy(socket, requests) {
      const held = open.get(socket)
      if (held === undefined || held.requests === requests) return
      const was = held.requests
      held.requests = requests
      if (was === 0 || requests === 0) setIdle(socket, held, requests === 0)
    },
    busyOf: (socket) => open.get(socket)?.requests ?? 0,
    setLasting(socket) {
      const held = open.get(socket)
      if (held === undefined) return
      setIdle(socket, held, false)
      held.isLasting = true
      if (held.requests === 0) setIdle(socket, held, true)
    },
    setWatched(socket, elsewhere) {
      const held = open.get(socket)
      if (held !== undefined) held.isWatchedElsewhere = elsewhere
    },
    async whenNoneIsOpen() {
      if (open.size > 0) await new Promise<void>((resolve) => waitingForNone.push(resolve))
    },
    look(nowMs) {
      for (const [socket, held] of open) {
        const bytes = socket.writableLength
        if (bytes === 0 || held.isWatchedElsewhere) {
          held.waiting = null
          continue
        }
        const { waiting } = held
        if (waiting === null) {
          held.waiting = { sinceMs: nowMs, bytes, taken: takenOf(socket) }
        } else if (nowMs - waiting.sinceMs >= slowReaderMs) {
          const taken = takenOf(socket)
          if (taken - waiting.taken < Math.min(waiting.bytes, (MIN_BYTES_PER_SECOND * slowReaderMs) / 1_000)) {
            onSlow(socket)
            socket.destroy()
          } else {
            held.waiting = { sinceMs: nowMs, bytes, taken }
          }
        }
      }
    },
  }
}

/**
 * Returns how many bytes the kernel has taken from us. Node's own count includes a write only once all of it has gone,
 * which is late for a client that reads megabytes slowly. The handle below counts parts of a write too.
 */
function takenOf(socket: Socket): number {
  const { _handle: handle } = socket as { _handle?: { bytesWritten?: number; writeQueueSize?: number } | null }
  if (handle?.bytesWritten === undefined || handle.writeQueueSize === undefined) {
    return socket.bytesWritten - socket.writableLength
  }
  return handle.bytesWritten - handle.writeQueueSize
}
