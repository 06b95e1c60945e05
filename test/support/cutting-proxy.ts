// A TCP proxy on loopback that cuts, silences and refuses connections on demand. It knows no protocol.
import { once } from 'node:events'
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net'

export interface CuttingProxyOptions {
  targetPort: number
  /** @default '127.0.0.1' */
  targetHost?: string
}

export interface CuttingProxy extends AsyncDisposable {
  readonly port: number
  /** Connections accepted so far, including refused ones. */
  readonly connections: number
  readonly openConnections: number
  /** Resets both sides of all connections now. */
  cutAll(): void
  /** From now on, resets each new connection once it has carried this many bytes to its client. `null` stops that. */
  cutAfter(bytes: number | null): void
  /** Forwards nothing in either direction and closes nothing, like a network that went silent. */
  pause(): void
  resume(): void
  /** If true, new connections are accepted and destroyed at once. */
  refuse(refusing: boolean): void
}

interface Pair {
  readonly client: Socket
  readonly target: Socket
}

export async function startCuttingProxy(options: CuttingProxyOptions): Promise<CuttingProxy> {
  const { targetPort, targetHost = '127.0.0.1' } = options
  const pairs = new Set<Pair>()
  let connections = 0
  let refusing = false
  let limit = Number.POSITIVE_INFINITY
  let flowing = Promise.resolve()
  let flowAgain: (() => void) | undefined

  // Half-open, so that the end of one direction does not end the other.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    connections += 1
    if (refusing) return void client.destroy()
    const pair = { client, target: dial({ port: targetPort, host: targetHost, allowHalfOpen: true, noDelay: true }) }
    pairs.add(pair)
    for (const socket of [client, pair.target]) {
      socket.on('error', () => cut(pair))
      socket.on('close', () => {
        if (client.closed && pair.target.closed) pairs.delete(pair)
      })
    }
    forward(pair.client, pair.target, Number.POSITIVE_INFINITY).catch(() => cut(pair))
    forward(pair.target, pair.client, limit).catch(() => cut(pair))
  })

  /** Ends `to` when `from` has ended. Throws when the limit is reached or a side is lost. */
  async function forward(from: Socket, to: Socket, maxBytes: number): Promise<void> {
    let left = maxBytes
    // The socket is not destroyed on return, because its other direction may go on.
    for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      await flowing
      await write(to, chunk.subarray(0, left))
      left -= chunk.length
      if (left <= 0) throw new Error('cut')
    }
    await flowing
    to.end()
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  const proxy: CuttingProxy = {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections
    },
    get openConnections() {
      return pairs.size
    },
    cutAll() {
      for (const pair of pairs) cut(pair)
    },
    cutAfter(bytes) {
      limit = bytes ?? Number.POSITIVE_INFINITY
    },
    pause() {
      if (flowAgain) return
      const { promise, resolve } = Promise.withResolvers<void>()
      flowing = promise
      flowAgain = resolve
    },
    resume() {
      flowAgain?.()
      flowAgain = undefined
    },
    refuse(now) {
      refusing = now
    },
    async [Symbol.asyncDispose]() {
      server.close()
      const sockets = Array.from(pairs, ({ client, target }) => [client, target]).flat()
      const open = sockets.filter((socket) => !socket.closed)
      const closed = open.map((socket) => new Promise((resolve) => socket.once('close', resolve)))
      proxy.resume()
      proxy.cutAll()
      await Promise.all(closed)
    },
  }
  return proxy
}

/** Resolves once the kernel has the bytes. That gives backpressure, and it makes a cut after them exact. */
function write(socket: Socket, chunk: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(chunk, (error) => (error ? reject(error) : resolve()))
  })
}

function cut({ client, target }: Pair): void {
  for (const socket of [client, target]) {
    // A socket that is still dialling has no connection that could be reset.
    if (socket.connecting) socket.destroy()
    else if (!socket.destroyed) socket.resetAndDestroy()
  }
}
