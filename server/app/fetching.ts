// Puts the way out together: the addresses that may be dialled, the sockets, and what may be fetched at a time.
import { readFileSync } from 'node:fs'
import pkg from '../../package.json' with { type: 'json' }
import { type Config, ConfigError } from '../config.ts'
import { type AddressPolicy, parseAllowList } from '../fetch/address.ts'
import { createFetchBudget, sharesOf } from '../fetch/budget.ts'
import { createDispatcher } from '../fetch/dispatcher.ts'
import { createFetcher, type Fetcher } from '../fetch/fetcher.ts'
import { createOrigins } from '../fetch/origins/origins.ts'
import { type OriginRule, parseOriginRules } from '../fetch/origins/rules.ts'
import { findSlabFault } from '../fetch/slab-check.ts'
import { createThrottles } from '../fetch/throttle.ts'
import { createBusyMeter } from '../lib/busy.ts'
import { systemClock } from '../lib/clock.ts'
import type { DescriptorNeeds } from '../lib/descriptors.ts'
import { describe, type Log } from '../lib/log.ts'
import type { Samples } from '../samples/samples.ts'

/** The addresses that may be fetched from: those of the settings, and the server's own sample images. */
export function policyOf(config: Config, samples: Samples | null): AddressPolicy {
  const ownImages = samples === null ? [] : parseAllowList(`127.0.0.1:${samples.port}`)
  return {
    allowedPorts: new Set(config.SHEAF_ALLOWED_PORTS),
    allow: [...config.SHEAF_ALLOW_ADDRESSES, ...ownImages],
    deny: config.SHEAF_DENY_ADDRESSES,
  }
}

/** Pooled sockets depend on how Node and undici pass bytes on. If a check fails, slower plain sockets are used. */
export async function hasPooledSockets({ SHEAF_POOLED_SOCKETS }: Config, log: Log): Promise<boolean> {
  if (!SHEAF_POOLED_SOCKETS) return false
  const fault = await findSlabFault()
  if (fault !== null) log.warn('pooled sockets failed their check; plain ones are used', { fault })
  return fault === null
}

/** Opens the fetcher with its dispatcher, its budget and its limits. `opened` closes them. */
export function openFetcher(
  config: Config,
  most: DescriptorNeeds,
  policy: AddressPolicy,
  pooledSockets: boolean,
  opened: AsyncDisposableStack,
): Fetcher {
  const dispatcher = createDispatcher({
    policy,
    connectTimeoutMs: config.SHEAF_CONNECT_TIMEOUT_MS,
    maxConnectionsPerOrigin: Math.min(sharesOf(config.SHEAF_MAX_FETCHES_PER_ORIGIN).inAll, most.fetches),
    pooledSockets,
  })
  opened.defer(() => dispatcher.destroy())
  const isBusy = createBusyMeter()
  const origins = createOrigins({ rules: readOriginRules(config), maxWaitMs: config.SHEAF_ENTRY_TIMEOUT_MS })
  const fetcher = createFetcher({
    dispatcher,
    budget: createFetchBudget({
      maxFetches: config.SHEAF_MAX_FETCHES,
      maxFetchesPerOrigin: config.SHEAF_MAX_FETCHES_PER_ORIGIN,
      maxInAll: most.fetches,
      createThrottle: createThrottles(isBusy),
      origins,
    }),
    origins,
    limits: {
      maxEntryBytes: config.SHEAF_MAX_ENTRY_BYTES,
      maxRedirects: config.SHEAF_MAX_REDIRECTS,
      connectTimeoutMs: config.SHEAF_CONNECT_TIMEOUT_MS,
      headersTimeoutMs: config.SHEAF_HEADERS_TIMEOUT_MS,
      idleTimeoutMs: config.SHEAF_IDLE_TIMEOUT_MS,
      minBytesPerSecond: config.SHEAF_MIN_BYTES_PER_SECOND,
      entryTimeoutMs: config.SHEAF_ENTRY_TIMEOUT_MS,
      maxAttempts: config.SHEAF_MAX_ATTEMPTS,
    },
    clock: systemClock,
    userAgent: `sheaf/${pkg.version}`,
  })
  return opened.use(fetcher)
}

/** @throws ConfigError that names the setting and the place, and holds nothing of the file's content */
function readOriginRules({ SHEAF_ORIGINS_FILE: file }: Config): OriginRule[] {
  if (file === '') return []
  try {
    return parseOriginRules(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new ConfigError(`SHEAF_ORIGINS_FILE: ${file}: ${describe(error)}`)
  }
}
