// Connects to an origin: chooses the HTTP version and the kind of socket, within one deadline. Judges no address.
import type { Socket } from 'node:net'
import { buildConnector, errors } from 'undici'
import type { SlabPool } from './slabs.ts'
import { portOf } from './source.ts'

export interface DiallerOptions {
  /** Covers everything that it takes to connect, including a second try with HTTP/2. */
  connectTimeoutMs: number
  /** Null for plain sockets. */
  slabs: SlabPool | null
  optionsFor(port: number): buildConnector.BuildOptions
}

/** Redirects can name any port and any origin, so what is remembered has a limit. */
const MAX_PORTS = 64
const MAX_REMEMBERED = 1_000

/**
 * Offers HTTP/1.1 only, because in Node many sockets are faster than the streams of one HTTP/2 session. If the origin
 * refuses that (RFC 7301 section 3.2, alert no_application_protocol), it is dialled again, and both versions are
 * offered. The second socket is a plain one, because an HTTP/2 session reads from the system by itself. undici uses the
 * version that the socket negotiated.
 */
export function createDialler({ connectTimeoutMs, slabs, optionsFor }: DiallerOptions): buildConnector.connector {
  const optionsOf = createMemory<number, buildConnector.BuildOptions>(MAX_PORTS)
  const needsH2 = createMemory<string, true>(MAX_REMEMBERED)
  // undici keeps TLS sessions in its connector. Each connection has its own connector here, so they are kept here.
  const sessions = createMemory<string, Buffer>(MAX_REMEMBERED)

  return (target, callback) => {
    const port = portOf(target)
    const peer = `${target.servername || target.hostname}:${port}`
    const isTls = target.protocol === 'https:'
    const startedMs = performance.now()
    const fixed = optionsOf.get(port) ?? optionsOf.set(port, optionsFor(port))

    function open(allowH2: boolean, settled: buildConnector.Callback): void {
      const timeout = Math.max(1, connectTimeoutMs - (performance.now() - startedMs))
      const options = { ...fixed, timeout, allowH2, session: isTls ? sessions.get(peer) : undefined }
      const opened: buildConnector.Callback = (...[error, socket]) => {
        if (error !== null) return settled(error, null)
        if (isTls) socket.on('session', (session: Buffer) => sessions.set(peer, session))
        settled(null, socket)
      }
      if (slabs !== null && !allowH2) return slabs.connect(options as buildConnector.BuildOptions, target, opened)
      // The connector returns the socket, but undici's types do not say so.
      const socket = buildConnector(options as buildConnector.BuildOptions)(target, opened) as unknown as Socket
      if (!allowH2) return
      // undici's own timer may be a second late, which can be most of the time that is left.
      const timer = setTimeout(() => socket.destroy(new errors.ConnectTimeoutError('no HTTP/2 in time')), timeout)
      socket.once('secureConnect', () => clearTimeout(timer)).once('close', () => clearTimeout(timer))
    }

    function openWithH2(): void {
      open(true, (...[error, socket]) => {
        if (error !== null) return callback(error, null)
        if ('alpnProtocol' in socket && socket.alpnProtocol === 'h2') needsH2.set(peer, true)
        else needsH2.delete(peer)
        callback(null, socket)
      })
    }

    if (isTls && needsH2.get(peer)) return openWithH2()
    open(false, (...[error, socket]) => {
      if (error === null) callback(null, socket)
      else if (isTls && isRefusedProtocol(error)) openWithH2()
      else callback(error, null)
    })
  }
}

const isRefusedProtocol = (error: Error): boolean =>
  'code' in error && /_NO_APPLICATION_PROTOCOL$/.test(String(error.code))

/** A map with at most `most` keys; the key that was set longest ago is dropped first. */
function createMemory<K, V>(most: number) {
  const known = new Map<K, V>()
  return {
    get: (key: K): V | undefined => known.get(key),
    delete: (key: K) => known.delete(key),
    set(key: K, value: V): V {
      known.delete(key)
      known.set(key, value)
      if (known.size > most) known.delete(known.keys().next().value!)
      return value
    },
  }
}
