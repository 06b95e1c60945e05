// A scriptable HTTP/1.1 origin on loopback. It writes to bare sockets, so that it can break HTTP itself, and logs its requests.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSecureContext, TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { pathBytes } from './behaviours.ts'
import type { Behaviour, Exchange, OriginRequest } from './exchange.ts'
import { type TempDirectory, tempDirectory } from './temp.ts'

export { bodyOf } from './behaviours.ts'

/** 'trusted', 'expired' and 'wrong-name' are signed by the origin's own CA; 'self-signed' is not. */
export type TlsIdentity = 'trusted' | 'self-signed' | 'expired' | 'wrong-name'

export interface OriginOptions {
  /** A loopback address. A test with two origins may give each its own. @default '127.0.0.1' */
  host?: string
  /** @default 0, which takes any free port */
  port?: number
  tls?: TlsIdentity
}

export interface Origin extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** `host:port`, as an allow list spells it. */
  readonly address: string
  /** All requests so far, in the order they came. */
  readonly requests: readonly OriginRequest[]
  /** How many requests are being answered now. */
  readonly activeRequests: number
  /** The most requests that were being answered at once. Quick answers hardly overlap: use `delayed` or `gate`. */
  readonly maxActive: number
  readonly openSockets: number
  /** The certificate of its CA, as PEM. Undefined without TLS and if self-signed. */
  readonly ca: string | undefined
  /** A file with `ca`, which exists while the origin does. */
  readonly caPath: string | undefined
  /**
   * Answers `path` with this behaviour from now on, and returns its URL. A path without a query matches any query. A path
   * that ends in `*` matches all paths that begin so. The most exact match wins; without one, `pathBytes()` answers.
   */
  serve(path: string, behaviour: Behaviour): string
  /** How often this path was asked for. A path without a query counts requests with any query. */
  count(path: string): number
}

const MAX_REQUEST_BYTES = 65_536
/** RST overtakes bytes that the kernel has not delivered. On loopback it delivers at once, unless the client does not read. */
const BEFORE_RESET_MS = 20

/** Disposing it closes every socket. It then throws if a behaviour threw while its client was still connected. */
export async function startOrigin({ host = '127.0.0.1', port = 0, tls }: OriginOptions = {}): Promise<Origin> {
  if (!/^127\.\d+\.\d+\.\d+$/.test(host)) throw new TypeError(`${host} is not a loopback address`)
  await using stack = new AsyncDisposableStack()
  const identity = tls && stack.use(await makeIdentity(tls, host))
  const context = identity && createSecureContext({ key: identity.key, cert: identity.cert })
  const scripts = new Map<string, Behaviour>()
  const fallback = pathBytes()
  const requests: OriginRequest[] = []
  const failures: unknown[] = []
  const sockets = new Set<Socket>()
  let activeRequests = 0
  let maxActive = 0

  async function answer(exchange: Exchange): Promise<void> {
    requests.push(exchange.request)
    activeRequests += 1
    maxActive = Math.max(maxActive, activeRequests)
    try {
      await behaviourFor(scripts, exchange.request.path, fallback)(exchange)
    } catch (error) {
      if (exchange.signal.aborted) return
      failures.push(error)
      await exchange.reset()
    } finally {
      activeRequests -= 1
    }
  }

  const server = createServer({ noDelay: true }, (raw) => {
    sockets.add(raw)
    raw.on('close', () => sockets.delete(raw))
    const socket = context ? new TLSSocket(raw, { isServer: true, secureContext: context }) : raw
    converse(raw, socket, answer)
  })
  server.listen(port, host)
  await once(server, 'listening')
  stack.defer(async () => {
    server.close()
    // The server emits 'close' before its last sockets do, so the sockets are awaited one by one.
    const closed = Array.from(sockets, (socket) => new Promise((resolve) => socket.once('close', resolve)))
    for (const socket of sockets) socket.destroy()
    await Promise.all(closed)
    if (failures.length > 0) throw new AggregateError(failures, 'a behaviour of the origin threw')
  })

  const bound = server.address() as AddressInfo
  const address = `${host}:${bound.port}`
  const url = `${tls ? 'https' : 'http'}://${address}`
  const owned = stack.move()
  return {
    url,
    address,
    port: bound.port,
    requests,
    ca: identity?.ca,
    caPath: identity?.caPath,
    get activeRequests() {
      return activeRequests
    },
    get maxActive() {
      return maxActive
    },
    get openSockets() {
      return sockets.size
    },
    serve(path, behaviour) {
      if (!path.startsWith('/')) throw new TypeError(`${path} is not a path`)
      scripts.set(path, behaviour)
      return url + path
    },
    count: (path) => requests.filter((request) => request.path === path || withoutQuery(request.path) === path).length,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function behaviourFor(scripts: ReadonlyMap<string, Behaviour>, path: string, fallback: Behaviour): Behaviour {
  const exact = scripts.get(path) ?? scripts.get(withoutQuery(path))
  if (exact) return exact
  let longest = ''
  for (const pattern of scripts.keys()) {
    if (pattern.endsWith('*') && path.startsWith(pattern.slice(0, -1)) && pattern.length > longest.length)
      longest = pattern
  }
  return scripts.get(longest) ?? fallback
}

function withoutQuery(path: string): string {
  return path.split('?', 1)[0]!
}

/** Reads requests from one connection and has them answered one after the other, until it closes. */
function converse(raw: Socket, socket: Socket, answer: (exchange: Exchange) => Promise<void>): void {
  const gone = new AbortController()
  const { signal } = gone
  let unread = ''
  let busy = false
  let closing = false

  // An error aborts the signal first: a wait for 'drain' is rejected by the same error, and must see that the client is gone.
  for (const each of new Set([raw, socket])) {
    each.on('error', () => gone.abort())
    each.on('close', () => {
      gone.abort()
      raw.destroy()
    })
  }
  // It also reads during an answer: otherwise it would not notice that a client left. The cap bounds what is kept.
  socket.on('data', (chunk: Buffer) => {
    unread += chunk.toString('latin1')
    if (unread.length > MAX_REQUEST_BYTES) raw.destroy()
    else if (!busy) void answerAll()
  })

  function close(): void {
    closing = true
    socket.end()
  }

  async function answerAll(): Promise<void> {
    busy = true
    for (let end = unread.indexOf('\r\n\r\n'); end >= 0 && !closing; end = unread.indexOf('\r\n\r\n')) {
      const request = parseRequest(unread.slice(0, end))
      unread = unread.slice(end + 4)
      if (!request) {
        socket.write('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
        return close()
      }
      await answer(exchangeOf(request))
      if (signal.aborted) return
      if (request.headers.connection?.toLowerCase() === 'close' && !closing) close()
    }
    busy = false
  }

  function exchangeOf(request: OriginRequest): Exchange {
    return {
      request,
      signal,
      close,
      async write(...chunks) {
        signal.throwIfAborted()
        socket.cork()
        let room = true
        for (const chunk of chunks)
          room = typeof chunk === 'string' ? socket.write(chunk, 'latin1') : socket.write(chunk)
        socket.uncork()
        if (!room) await once(socket, 'drain', { signal })
      },
      async pause(ms) {
        await sleep(ms, undefined, { signal })
      },
      gone: () =>
        new Promise((_, reject) => {
          if (signal.aborted) reject(signal.reason)
          else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        }),
      async reset() {
        closing = true
        // The wait is bounded, because a client that does not read would put off the reset for ever.
        for (let tries = 0; tries < 50 && (tries === 0 || socket.writableLength > 0); tries += 1) {
          await sleep(BEFORE_RESET_MS, undefined, { signal })
        }
        raw.resetAndDestroy()
      },
    }
  }
}

/** Null if this is not a request that this origin takes. It takes no request bodies. */
function parseRequest(head: string): OriginRequest | null {
  const [requestLine = '', ...lines] = head.split('\r\n')
  const [, method, path] = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/.exec(requestLine) ?? []
  if (!method || !path) return null
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon < 1) return null
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  }
  if ('transfer-encoding' in headers || Number(headers['content-length'] ?? 0) !== 0) return null
  return { path, method, headers, at: performance.now() }
}

interface Identity extends AsyncDisposable {
  readonly key: string
  readonly cert: string
  readonly ca: string | undefined
  readonly caPath: string | undefined
}

const NEW_KEY = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'.split(' ')

export async function makeIdentity(kind: TlsIdentity, host: string): Promise<Identity> {
  await using stack = new AsyncDisposableStack()
  const directory: TempDirectory = stack.use(await tempDirectory())
  const openssl = (...parameters: string[]) => promisify(execFile)('openssl', parameters, { cwd: directory.path })
  const read = (name: string) => readFile(join(directory.path, name), 'utf8')
  const names = kind === 'wrong-name' ? 'DNS:elsewhere.test' : `IP:${host},DNS:localhost,DNS:origin.test`
  const subject = ['-subj', '/CN=sheaf test origin', '-addext', `subjectAltName=${names}`]

  if (kind === 'self-signed') {
    await openssl('req', '-x509', ...NEW_KEY, '-keyout', 'key.pem', '-out', 'cert.pem', '-days', '2', ...subject)
  } else {
    const ca = ['-keyout', 'ca-key.pem', '-out', 'ca.pem', '-subj', '/CN=sheaf test CA', '-days', '2']
    await openssl('req', '-x509', ...NEW_KEY, ...ca)
    await openssl('req', ...NEW_KEY, '-keyout', 'key.pem', '-out', 'request.pem', ...subject)
    const signer = ['-CA', 'ca.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial', '-copy_extensions', 'copy']
    const days = kind === 'expired' ? '-1' : '2'
    await openssl('x509', '-req', '-in', 'request.pem', '-out', 'cert.pem', ...signer, '-days', days)
  }
  const ca = kind === 'self-signed' ? undefined : await read('ca.pem')
  const [key, cert] = [await read('key.pem'), await read('cert.pem')]
  const owned = stack.move()
  return {
    key,
    cert,
    ca,
    caPath: ca && join(directory.path, 'ca.pem'),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
