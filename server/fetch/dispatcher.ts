// The one door to the network: undici's agent over a connector that judges every address before it is dialled.
import { type LookupAddress, type LookupOptions, lookup as systemLookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { getCACertificates } from 'node:tls'
import { Agent, buildConnector } from 'undici'
import { type AddressPolicy, judgeAddress } from './address.ts'

export class ForbiddenTargetError extends Error {
  override readonly name = 'ForbiddenTargetError'
  readonly code = 'SHEAF_FORBIDDEN_TARGET'
}

export interface DispatcherOptions {
  policy: AddressPolicy
  /** For name resolution, TCP and TLS together. */
  connectTimeoutMs: number
  maxConnectionsPerOrigin: number
  /** Trusted besides the system's certificate authorities, PEM. */
  extraCa?: string[]
  /** @default the system's resolver */
  resolve?: Resolve
}

export type Resolve = (
  hostname: string,
  options: { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

export function createDispatcher(options: DispatcherOptions): Agent {
  const { policy, maxConnectionsPerOrigin } = options
  const resolve = oncePerHost(options.resolve ?? systemLookup)
  // Given alone, they would take the place of those that are trusted already.
  const trusted = options.extraCa && { ca: [...getCACertificates('default'), ...options.extraCa] }
  const connectors = new Map<number, buildConnector.connector>()

  /** One a port, because a lookup is not told the port that its answer is dialled with. */
  function connectorFor(port: number): buildConnector.connector {
    const known = connectors.get(port)
    if (known !== undefined) return known
    const made = buildConnector({
      timeout: options.connectTimeoutMs,
      lookup: judgedLookup(resolve, port, policy),
      autoSelectFamily: true,
      allowH2: false,
      ...trusted,
    } as buildConnector.BuildOptions)
    // Redirects can name any port: what is remembered stays bounded.
    if (connectors.size >= 64) connectors.clear()
    connectors.set(port, made)
    return made
  }

  const connect: buildConnector.connector = (target, callback) => {
    const port = Number(target.port || (target.protocol === 'https:' ? 443 : 80))
    // For a literal address no lookup is ever called, so it is judged here.
    if (isIP(target.hostname) !== 0 && judgeAddress(target.hostname, port, policy) === 'forbidden') {
      queueMicrotask(() => callback(new ForbiddenTargetError('forbidden address or port'), null))
      return
    }
    return connectorFor(port)(target, callback)
  }

  return new Agent({
    connect,
    connections: maxConnectionsPerOrigin,
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: 16 * 1024,
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 30_000,
    // The fetcher holds its own deadlines: undici's idle one never ends a slow drip.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
}

type ResolveAll = (hostname: string, callback: (error: Error | null, addresses: LookupAddress[]) => void) => void

/** Connections that open at the same time share one query: getaddrinfo holds a thread each. */
function oncePerHost(resolve: Resolve): ResolveAll {
  const pending = new Map<string, ((error: Error | null, addresses: LookupAddress[]) => void)[]>()
  return (hostname, callback) => {
    const waiting = pending.get(hostname)
    if (waiting !== undefined) {
      waiting.push(callback)
      return
    }
    const callbacks = [callback]
    pending.set(hostname, callbacks)
    resolve(hostname, { all: true }, (error, addresses) => {
      pending.delete(hostname)
      for (const each of callbacks) each(error, addresses)
    })
  }
}

/** Hands on only addresses that may be dialled, so that the address judged is the address dialled. */
function judgedLookup(resolve: ResolveAll, port: number, policy: AddressPolicy): LookupFunction {
  return (hostname: string, { all }: LookupOptions, callback) => {
    resolve(hostname, (error, addresses) => {
      if (error) return callback(error, [])
      const allowed = addresses.filter(({ address }) => judgeAddress(address, port, policy) === 'allowed')
      const [first] = allowed
      if (first === undefined) return callback(new ForbiddenTargetError('forbidden address or port'), [])
      if (all) callback(null, allowed)
      else callback(null, first.address, first.family)
    })
  }
}
