// Which connections there are: who may have one more, who makes way for whom, and which take nothing of what waits for them.
import type { Socket } from 'node:net'
import { leavesRoom } from '../lib/quota.ts'
import { clientKey } from './clients.ts'
import { MIN_BYTES_PER_SECOND } from './ledger.ts'

export interface SocketsOptions {
  maxSockets: number
  /** From one client; null if the peer is our own proxy, which has them all. */
  maxPerClient: number | null
  /** A connection that takes too little of what waits for it over this time is cut off. */
  slowReaderMs: number
  /** Told before it is. */
  onSlow(socket: Socket): void
}

export interface Sockets {
  readonly open: ReadonlySet<Socket>
  /** Keeps it, in the place of an idle one if need be; or closes it. */
  accept(socket: Socket): void
  /** So many requests are under way on it. One without any makes way for a new connection. */
  setBusy(socket: Socket, requests: number): void
  busyOf(socket: Socket): number
  /** It makes way only if no other does: a websocket that nobody calls over just now. */
  setLasting(socket: Socket): void
  /** Somebody else watches how fast it takes what is sent. */
  setWatched(socket: Socket, elsewhere: boolean): void
  whenNoneIsOpen(): Promise<void>
  /** Cuts slow readers off. To be called every now and then. */
  look(nowMs: number): void
}

interface Held {
  readonly client: Client
  requests: number
  isLasting: boolean
  isWatchedElsewhere: boolean
  /** Since when something waits to be taken, and how much was taken by then; null while nothing does. */
  waiting: { sinceMs: number; bytes: number; taken: number } | null
}

/** Those without a request, longest idle first; the lasting ones apart. */
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

  /** Closes one of these; false if there is none. */
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
 * Bytes that the kernel has taken from us. Node's own counts tell of a write once all of it has gone, which is late for a
 * client that reads megabytes slowly; the handle below knows better.
 */
function takenOf(socket: Socket): number {
  const { _handle: handle } = socket as { _handle?: { bytesWritten?: number; writeQueueSize?: number } | null }
  if (handle?.bytesWritten === undefined || handle.writeQueueSize === undefined) {
    return socket.bytesWritten - socket.writableLength
  }
  return handle.bytesWritten - handle.writeQueueSize
}
