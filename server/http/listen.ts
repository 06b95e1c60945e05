// Listens on one address with several sockets, to accept many connections in one turn of the loop. Knows no HTTP.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'

export interface ListenOptions {
  host: string
  /** 0 takes any free port. */
  port: number
}

export interface Listening {
  /** The port that was bound, even if 0 was asked for. */
  readonly port: number
  /** Accepts no new connections from now on. Open ones go on. */
  stop(): void
}

/**
 * libuv accepts one connection from each listening socket in a turn of its loop. A turn takes tens of milliseconds
 * while the server moves gigabytes or a crowd calls. With one socket, the last of fifty clients that arrive together
 * would wait for seconds, and so would a client behind a crowd. Once clients are accepted, they take turns.
 */
const SOCKETS = 32

/**
 * Lets `server` listen, and further sockets that hand it their connections. Rejects if listening fails, above all with
 * EADDRINUSE if another program has the port, another sheaf included.
 */
export async function listenWidely(server: Server, { host, port }: ListenOptions): Promise<Listening> {
  // Only Linux distributes connections among the sockets of one port.
  if (process.platform !== 'linux')
    return { port: await listen(server, { host, port }), stop: () => void server.close() }
  // With SO_REUSEPORT we could bind beside another sheaf and not notice. Binding without it proves that the port is
  // free.
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
