// The real fetcher with short limits, and a sink that collects the body.
import { parseAllowList } from '../../server/fetch/address.ts'
import type { BodySink } from '../../server/fetch/body-sink.ts'
import { createFetchBudget } from '../../server/fetch/budget.ts'
import { createDispatcher, type DispatcherOptions, type FetchDispatcher } from '../../server/fetch/dispatcher.ts'
import {
  createFetcher,
  type EntryFetch,
  type Fetcher,
  type FetcherLimits,
  type FetchLane,
  type FetchOutcome,
} from '../../server/fetch/fetcher.ts'
import { createOrigins } from '../../server/fetch/origins/origins.ts'
import type { OriginRule } from '../../server/fetch/origins/rules.ts'
import { createThrottles } from '../../server/fetch/throttle.ts'
import { systemClock } from '../../server/lib/clock.ts'

export interface FetchingOptions extends Partial<Omit<DispatcherOptions, 'policy' | 'maxConnectionsPerOrigin'>> {
  /** Addresses that may be dialled, in the syntax of the allow list. @default all of 127.0.0.0/8 */
  allow?: string
  limits?: Partial<FetcherLimits>
  maxFetches?: number
  maxFetchesPerOrigin?: number
  maxInAll?: number
  /** What the operator has set for origins. */
  rules?: readonly OriginRule[]
}

export interface Fetching extends AsyncDisposable {
  readonly fetcher: Fetcher
  readonly dispatcher: FetchDispatcher
  /** Closes all connections for good, as the end of the process does: nothing can be dialled any more. */
  cutOff(): Promise<void>
  /** Fetches one URL, in a new lane unless one is given. */
  fetch(url: string, more?: { lane?: FetchLane; index?: number; sink?: BodySink }): Promise<Fetched>
}

export interface Fetched {
  readonly outcome: FetchOutcome
  /** What the sink holds at the end. */
  readonly body: Buffer
  /** The size that each call of `begin` was given. */
  readonly begins: readonly (number | null)[]
  readonly fetch: EntryFetch
}

export const SHORT_LIMITS: FetcherLimits = {
  maxEntryBytes: 8 * 1024 * 1024,
  maxRedirects: 5,
  connectTimeoutMs: 1_000,
  headersTimeoutMs: 2_000,
  idleTimeoutMs: 1_000,
  minBytesPerSecond: 100,
  entryTimeoutMs: 10_000,
  maxAttempts: 2,
}

export function openDispatcher({
  allow = '127.0.0.0/8',
  ...options
}: Partial<Omit<DispatcherOptions, 'policy'>> & { allow?: string } = {}): FetchDispatcher {
  return createDispatcher({
    policy: { allowedPorts: new Set([80, 443]), allow: parseAllowList(allow) },
    connectTimeoutMs: 1_000,
    maxConnectionsPerOrigin: 32,
    ...options,
  })
}

export function startFetching({
  allow,
  limits = {},
  maxFetches = 96,
  maxFetchesPerOrigin = 32,
  maxInAll,
  rules,
  ...options
}: FetchingOptions = {}): Fetching {
  const dispatcher = openDispatcher({ allow, maxConnectionsPerOrigin: maxFetchesPerOrigin, ...options })
  const allLimits = { ...SHORT_LIMITS, ...limits }
  const origins = createOrigins({ ...(rules && { rules }), maxWaitMs: allLimits.entryTimeoutMs })
  const fetcher = createFetcher({
    dispatcher,
    budget: createFetchBudget({
      maxFetches,
      maxFetchesPerOrigin,
      ...(maxInAll === undefined ? {} : { maxInAll }),
      createThrottle: createThrottles(() => false),
      origins,
    }),
    limits: allLimits,
    origins,
    clock: systemClock,
    userAgent: 'sheaf/test',
  })

  return {
    fetcher,
    dispatcher,
    cutOff: () => dispatcher.destroy(),
    fetch(url, { lane = fetcher.openLane({ mayStart: () => true }), index = 0, sink } = {}) {
      const { promise, resolve } = Promise.withResolvers<Fetched>()
      const collected = collect()
      const fetch = lane.fetch({
        index,
        url: new URL(url),
        sink: sink ?? collected.sink,
        done: (outcome) => resolve({ outcome, body: collected.body(), begins: collected.begins, fetch }),
      })
      return promise
    },
    async [Symbol.asyncDispose]() {
      fetcher[Symbol.dispose]()
      await dispatcher.destroy()
    },
  }
}

/** A sink that is always ready and keeps everything. */
function collect() {
  const begins: (number | null)[] = []
  let chunks: Buffer[] = []
  const sink: BodySink = {
    begin(sizeBytes) {
      begins.push(sizeBytes)
      chunks = []
    },
    write(chunk, lease) {
      chunks.push(lease ? Buffer.from(chunk) : chunk)
      lease?.release()
      return true
    },
    whenReady: (resume) => resume(),
  }
  return { sink, begins, body: () => Buffer.concat(chunks) }
}
