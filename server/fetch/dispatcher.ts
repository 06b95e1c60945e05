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
  /** For name resolution, TCP and TLS together. */
  connectTimeoutMs: number
  maxConnectionsPerOrigin: number
  /** HTTP/1.1 sockets read into pooled memory, which is to be held. @default true */
  pooledSockets?: boolean
  /** Trusted besides the system's certificate authorities, PEM. */
  extraCa?: string[]
  /** @default over sockets of its own, from the system's name servers and file of hosts */
  resolve?: Resolve
}

/** What the fetcher sends its requests through. */
export interface FetchDispatcher extends Pick<Agent, 'dispatch' | 'destroy'> {
  /** Of the sockets' memory; null if they are plain ones. */
  readonly slabs: Pick<SlabPool, 'live' | 'free' | 'orphans'> | null
  /**
   * To be asked for every body chunk as it is delivered: its bytes stay until the lease is released. Null is ordinary
   * memory, which stays as long as anybody looks at it.
   */
  hold(chunk: Buffer): Lease | null
  /** Settles when the connection that is being opened for this handler's request is open, or has failed; undefined if none is. */
  dialFor(handler: Dispatcher.DispatchHandler): Promise<void> | undefined
}

export function createDispatcher(options: DispatcherOptions): FetchDispatcher {
  const { policy, maxConnectionsPerOrigin, pooledSockets = true } = options
  const resolve = oncePerHost(options.resolve ?? createResolver({ timeoutMs: options.connectTimeoutMs }))
  // Given alone, they would take the place of those that are trusted already.
  const trusted = options.extraCa && { ca: [...getCACertificates('default'), ...options.extraCa] }
  const slabs = pooledSockets ? createSlabPool() : null

  const dial = createDialler({
    connectTimeoutMs: options.connectTimeoutMs,
    slabs,
    // One a port, because a lookup is not told the port that its answer is dialled with.
    optionsFor: (port) => ({ lookup: judgedLookup(resolve, port, policy), autoSelectFamily: true, ...trusted }),
  })

  const connect: buildConnector.connector = (target, callback) => {
    const port = portOf(target)
    // For a literal address no lookup is ever called, so it is judged here.
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
    // The fetcher holds its own deadlines: undici's idle one never ends a slow drip.
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
 * A connection that is being opened goes on without its request, until it is open or its time is over. As long it has the
 * place: so places bound what is looked up and dialled, however quickly archives are made and cancelled.
 * @param handler null if it was over before anything was dialled
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

/** Of a name's addresses so many are dialled, one after the other: a name may have thousands. */
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

/** The first of both families in turns (RFC 8305 section 4). */
function inTurns(addresses: readonly LookupAddress[]): LookupAddress[] {
  const first = addresses[0]?.family
  const own = addresses.filter(({ family }) => family === first).slice(0, MAX_ADDRESSES)
  const others = addresses.filter(({ family }) => family !== first).slice(0, MAX_ADDRESSES)
  const turns = own.flatMap((address, index) => [address, ...others.slice(index, index + 1)])
  return [...turns, ...others.slice(own.length)].slice(0, MAX_ADDRESSES)
}

/** Hands on only addresses that may be dialled, so that the address judged is the address dialled. */
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
