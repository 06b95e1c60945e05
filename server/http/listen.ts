// Listens on one address by several sockets, so that many connections are accepted in one turn of the loop. Knows no HTTP.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'

export interface ListenOptions {
  host: string
  /** 0: any free one. */
  port: number
}

export interface Listening {
  /** A real one also if 0 was asked for. */
  readonly port: number
  /** No new connections from now on; those that are open go on. */
  stop(): void
}

/**
 * libuv accepts one connection from each listening socket in a turn of its loop. While a server moves gigabytes, or a crowd
 * calls, a turn takes tens of milliseconds: of fifty clients that come at once the last one would wait for seconds, and one
 * that comes behind a crowd for as long. Accepted, clients take turns.
 */
const SOCKETS = 32

/**
 * Has `server` listen, and others hand it their connections. Rejects as `listen` fails, above all with EADDRINUSE where
 * anybody else has the port, another one of us included.
 */
export async function listenWidely(server: Server, { host, port }: ListenOptions): Promise<Listening> {
  // Only Linux shares connections out among the sockets of one port.
  if (process.platform !== 'linux')
    return { port: await listen(server, { host, port }), stop: () => void server.close() }
  // SO_REUSEPORT would let us bind beside another sheaf unnoticed. Bind once without it to see that the port is free.
  const alone = createServer()
  const bound = await listen(alone, { host, port })
  await new Promise((resolve) => alone.close(resolve))
  const others = Array.from({ length: SOCKETS - 1 }, () => createServer((socket) => server.emit('connection', socket)))
  const all = [server, ...others]
  const stop = () => {
    for (const one of all) one.close()
  }
  const shared = { host, port: bound, reusePort: true }
  try {
    for (const one of all) await listen(one, shared)
  } catch (error) {
    stop()
    throw error
  }
  return { port: bound, stop }
}

async function listen(server: Server, options: ListenOptions & { reusePort?: boolean }): Promise<number> {
  server.listen(options)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
