// The one door to the network: undici's agent over a connector that judges every address before it is dialled.
import type { LookupAddress, LookupOptions } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { getCACertificates } from 'node:tls'
import { Agent, type buildConnector, type Client, type Dispatcher, Pool } from 'undici'
import type { Lease } from '../lib/blocks.ts'
import { type AddressPolicy, judgeAddress } from './address.ts'
import type { Release } from './budget.ts'
import { createDialler } from './dial.ts'
import { Connection, type Dials } from './h2.ts'
import { createResolver, type Resolve } from './resolve.ts'
import { createSlabPool, type SlabPool } from './slabs.ts'
import { portOf } from './source.ts'

export class ForbiddenTargetError extends Error {
  override readonly name = 'ForbiddenTargetError'
  readonly code = 'SHEAF_FORBIDDEN_TARGET'
}

export interface DispatcherOptions {
  policy: AddressPolicy
  /** Covers name resolution, TCP and TLS together. */
  connectTimeoutMs: number
  maxConnectionsPerOrigin: number
  /** HTTP/1.1 sockets read into pooled memory; the caller must then `hold` every chunk. @default true */
  pooledSockets?: boolean
  /** Certificate authorities (PEM) that are trusted in addition to the system's. */
  extraCa?: string[]
  /** @default a resolver with its own sockets, which asks the system's name servers and hosts file */
  resolve?: Resolve
}

/** What the fetcher sends its requests through. */
export interface FetchDispatcher extends Pick<Agent, 'dispatch' | 'destroy'> {
  /** The memory that the sockets read into; null if the sockets are plain ones. */
  readonly slabs: Pick<SlabPool, 'live' | 'free' | 'orphans'> | null
  /**
   * Must be called for every body chunk as it is delivered. The bytes stay unchanged until the lease is released. Null
   * means that the chunk is ordinary memory, which the garbage collector keeps.
   */
  hold(chunk: Buffer): Lease | null
  /**
   * Settles when the connection that is being opened for this handler's request is open or has failed. Undefined if no
   * connection is being opened for it.
   */
  dialFor(handler: Dispatcher.DispatchHandler): Promise<void> | undefined
}

export function createDispatcher(options: DispatcherOptions): FetchDispatcher {
  const { policy, maxConnectionsPerOrigin, pooledSockets = true } = options
  const resolve = oncePerHost(options.resolve ?? createResolver({ timeoutMs: options.connectTimeoutMs }))
  // The `ca` option replaces the default authorities, so they are passed along.
  const trusted = options.extraCa && { ca: [...getCACertificates('default'), ...options.extraCa] }
  const slabs = pooledSockets ? createSlabPool() : null

  const dial = createDialler({
    connectTimeoutMs: options.connectTimeoutMs,
    slabs,
    // Each port has its own lookup, because Node does not pass the port to a lookup function.
    optionsFor: (port) => ({ lookup: judgedLookup(resolve, port, policy), autoSelectFamily: true, ...trusted }),
  })

  const connect: buildConnector.connector = (target, callback) => {
    const port = portOf(target)
    // Node calls no lookup for a literal address, so it is judged here.
    if (isIP(target.hostname) !== 0 && judgeAddress(target.hostname, port, policy) === 'forbidden') {
      queueMicrotask(() => callback(new ForbiddenTargetError('forbidden address or port'), null))
      return
    }
    dial(target, callback)
  }

  const dials: Dials = new Map()
  const agent = new Agent({
    connect,
    connections: maxConnectionsPerOrigin,
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: 16 * 1024,
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 30_000,
    // The fetcher has its own deadlines, because undici's idle timeout never ends a slow drip.
    headersTimeout: 0,
    bodyTimeout: 0,
    factory: (origin, agentOptions) =>
      new Pool(origin, {
        ...(agentOptions as Pool.Options),
        factory: (_, clientOptions) => new Connection(origin, clientOptions as Client.Options, dials),
      }),
  })

  return {
    slabs,
    hold: slabs === null ? () => null : (chunk) => slabs.hold(chunk),
    dispatch: (request, handler) => agent.dispatch(request, handler),
    dialFor: (handler) => dials.get(handler),
    async destroy() {
      await agent.destroy()
      slabs?.[Symbol.dispose]()
    },
  }
}

/**
 * Gives the fetch's place back, but not before its connection is open or has failed. Connecting goes on after the
 * request has been cancelled. If the place were free earlier, a client that quickly creates and cancels archives could
 * have any number of lookups and connections under way.
 * @param handler null if the attempt ended before anything was dialled
 */
export function releaseAfterDial(
  dispatcher: FetchDispatcher,
  handler: Dispatcher.DispatchHandler | null,
  release: Release,
  receivedBytes: number | null,
): void {
  const dial = handler === null ? undefined : dispatcher.dialFor(handler)
  if (dial === undefined) release(receivedBytes)
  else void dial.then(() => release(receivedBytes))
}

type ResolveAll = (hostname: string, callback: (error: Error | null, addresses: LookupAddress[]) => void) => void

/** At most this many addresses of a name are dialled, one after the other, because a name may have thousands. */
const MAX_ADDRESSES = 8

/** Connections that open at the same time share one query. */
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

/** Alternates between the two families, and keeps the first `MAX_ADDRESSES` (RFC 8305 section 4). */
function inTurns(addresses: readonly LookupAddress[]): LookupAddress[] {
  const first = addresses[0]?.family
  const own = addresses.filter(({ family }) => family === first).slice(0, MAX_ADDRESSES)
  const others = addresses.filter(({ family }) => family !== first).slice(0, MAX_ADDRESSES)
  const turns = own.flatMap((address, index) => [address, ...others.slice(index, index + 1)])
  return [...turns, ...others.slice(own.length)].slice(0, MAX_ADDRESSES)
}

/** Passes on only addresses that may be dialled, so the address that was judged is the one that is dialled. */
function judgedLookup(resolve: ResolveAll, port: number, policy: AddressPolicy): LookupFunction {
  return (hostname: string, { all }: LookupOptions, callback) => {
    resolve(hostname, (error, addresses) => {
      if (error) return callback(error, [])
      const allowed = inTurns(addresses.filter(({ address }) => judgeAddress(address, port, policy) === 'allowed'))
      const [first] = allowed
      if (first === undefined) return callback(new ForbiddenTargetError('forbidden address or port'), [])
      if (all) callback(null, allowed)
      else callback(null, first.address, first.family)
    })
  }
}
