// Puts the server together: the only place that chooses adapters. Opens everything, and closes it in reverse order.
import { access, constants, mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { ServerInfo } from '#contracts/api.ts'
import pkg from '../package.json' with { type: 'json' }
import { createDiskSpool } from './adapters/disk/spool.ts'
import { createSqliteJournal } from './adapters/sqlite/journal.ts'
import { hasPooledSockets, openFetcher, policyOf } from './app/fetching.ts'
import { createAdmission } from './archives/admission.ts'
import { createAttendance } from './archives/attendance.ts'
import type { BuildLimits } from './archives/build/build-deps.ts'
import { createStagingMemory } from './archives/bytes/staging-memory.ts'
import { createExpiry, type Expiry } from './archives/expiry.ts'
import { withFairReads } from './archives/fair-reads.ts'
import { createHoldings, dayOf, type Holdings, type HoldingsLimits } from './archives/holdings.ts'
import { isIntact } from './archives/manifest.ts'
import { withRecentManifests } from './archives/manifests.ts'
import { createPlanner } from './archives/plan.ts'
import { createRunner, seatsInAll } from './archives/runner.ts'
import { createArchiveService } from './archives/service.ts'
import { createSweeper } from './archives/sweeper.ts'
import { type Config, journalFile, NO_SAMPLES, spoolDirectory } from './config.ts'
import { SURE_FETCHES, sharesOf } from './fetch/budget.ts'
import { createPages } from './http/pages.ts'
import { startHttpServer } from './http/server.ts'
import { type Clock, clockFrom, systemClock } from './lib/clock.ts'
import { isCrc32Native } from './lib/crc32.ts'
import { type DescriptorNeeds, descriptorLimit, shareDescriptors } from './lib/descriptors.ts'
import { describe, type Log } from './lib/log.ts'
import { createQuota } from './lib/quota.ts'
import type { Journal } from './ports/journal.ts'
import type { SpoolRoom } from './ports/spool.ts'
import { type Samples, startSamples } from './samples/samples.ts'
import { createDeflater } from './zip/deflate.ts'

/** The data directory is not a directory, or cannot be written to. */
export class DataDirectoryError extends Error {
  override readonly name = 'DataDirectoryError'
}

/** Another process uses the data directory. */
export { JournalLockedError } from './adapters/sqlite/journal.ts'

export interface App extends AsyncDisposable {
  readonly url: string
}

const TOMBSTONE_MS = 7 * 24 * 3_600_000
/** Parts that are open at a time; more parts take turns. */
const MAX_OPEN_PARTS = 64
/** Plans that run at a time. Each may ask as many origins as an archive has entries. */
const MAX_PLANS = { perKey: 4, inAll: 16 }
const PAGE_DIRECTORY = fileURLToPath(new URL('../client-web/dist', import.meta.url))
/** A message may be this many times as large as a manifest, because of JSON punctuation and what tRPC adds. */
const MESSAGE_OVERHEAD = 2
/** Limits of a message's JSON. A manifest in a batch is six levels deep; an entry has five keys and values. */
const JSON_DEPTH = 32
const ENTRY_TOKENS = 10
const OTHER_TOKENS = 5_000

export async function startApp(config: Config, log: Log): Promise<App> {
  await using opened = new AsyncDisposableStack()
  const most = await fitDescriptors(config, log)

  await openDataDirectory(config.SHEAF_DATA_DIR)
  const file = opened.use(
    createSqliteJournal({
      file: journalFile(config),
      isIntact,
      retentionMs: config.SHEAF_RETENTION_MS,
      onQuarantine: ({ movedTo, salvaged }, cause) =>
        log.error('journal was damaged; it is kept aside, and its readable part stays in use', {
          movedTo,
          ...salvaged,
          cause: describe(cause),
        }),
    }),
  )
  const journal = withFairReads(withRecentManifests(file))
  const { clock, expiry } = await openClock(journal, log)
  let holdings: Holdings | null = null
  const usage = await journal.usageSince(dayOf(clock.wallMs()))
  const spool = opened.use(
    await createDiskSpool({
      directory: spoolDirectory(config),
      maxBytes: config.SHEAF_SPOOL_MAX_BYTES || Number.POSITIVE_INFINITY,
      // The holdings do not exist yet, because their limits depend on the spool's room.
      otherBytes: () => holdings?.journalBytes ?? 0,
      reserveBytes: config.SHEAF_SPOOL_RESERVE_BYTES,
      maxOpenParts: most.parts,
    }),
  )
  holdings = createHoldings({ limits: await holdingLimits(config, spool), wallMs: clock.wallMs, usage })
  const admission = opened.use(
    createAdmission({
      places: createQuota({
        perKey: config.SHEAF_MAX_ARCHIVES_PER_CLIENT,
        inAll: config.SHEAF_MAX_UNFINISHED_ARCHIVES,
      }),
      holdings,
      journal,
      spool,
      clock,
      log,
      async overdrawn(archiveId) {
        await runner.get(archiveId)?.abort('NO_SPACE')
      },
    }),
  )
  if (!isCrc32Native) log.info('CRC-32 by zlib: the native package has no binary for this machine')
  const samples = await openSamples(config, log)
  if (samples !== null) opened.use(samples)

  const policy = policyOf(config, samples)
  const fetcher = openFetcher(config, most, policy, await hasPooledSockets(config, log), opened)
  const attendance = opened.use(
    createAttendance({
      abandonMs: config.SHEAF_ABANDON_MS,
      abandoned(archiveId) {
        const build = runner.get(archiveId)
        if (build !== null && build.record.whenUnwatched === 'abort') void build.abort('ABANDONED')
      },
    }),
  )
  const sweeper = opened.use(
    createSweeper({
      journal,
      spool,
      attendance,
      clock,
      expiry,
      log,
      tombstoneMs: TOMBSTONE_MS,
      everyMs: Math.min(
        60_000,
        Math.max(250, Math.min(config.SHEAF_RETENTION_MS, config.SHEAF_ABORTED_RETENTION_MS) / 4),
      ),
      swept: (archiveId) => admission.swept(archiveId),
    }),
  )
  const runner = opened.use(
    createRunner({
      deps: {
        journal,
        spool,
        fetcher,
        staging: opened.use(createStagingMemory(config.SHEAF_STAGING_BYTES)),
        deflater: createDeflater(),
        clock,
        log,
        limits: buildLimits(config),
      },
      maxActive: config.SHEAF_MAX_ACTIVE_ARCHIVES,
      maxInAll: most.archives,
      ended(build) {
        admission
          .ended(build.archiveId)
          .catch((error) =>
            log.warn('an archive is still counted as before', { archive: build.archiveId, error: describe(error) }),
          )
      },
    }),
  )
  const service = createArchiveService({
    journal,
    spool,
    runner,
    attendance,
    planner: createPlanner({ probe: fetcher.probe, policy, plans: createQuota(MAX_PLANS) }),
    clock,
    expiry,
    log,
    info: infoOf(config, samples?.urls ?? []),
    admission,
    abortedRetentionMs: buildLimits(config).abortedRetentionMs,
  })

  await sweeper.sweepOrphans()
  await admission.restore()
  for (const record of await journal.unfinished()) {
    attendance.touch(record.archiveId)
    runner.add(record, record.client)
  }
  sweeper.start()

  const server = await startHttpServer({
    host: config.SHEAF_HOST,
    port: config.SHEAF_PORT,
    api: service,
    openReading: (address) => service.openReading(address),
    pages: createPages(PAGE_DIRECTORY),
    log,
    ...httpLimits(config, most.sockets),
  })

  const owned = opened.move()
  return {
    url: server.url,
    async [Symbol.asyncDispose]() {
      service.startDraining()
      server.stopAccepting()
      // Builds end first. Their watchers and readers then learn that the builds continue after a restart, and leave.
      await runner[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
      await owned.disposeAsync()
    },
  }
}

/** The machine's clock may be wrong at the start, so time never starts before the newest time in the journal. */
async function openClock(journal: Journal, log: Log): Promise<{ clock: Clock; expiry: Expiry }> {
  const newestMs = await journal.newestMs()
  const clock = clockFrom(newestMs ?? 0)
  const behindMs = clock.wallMs() - systemClock.wallMs()
  if (behindMs > 1_000)
    log.error('the clock is behind the journal: time continues from the journal', { seconds: behindMs / 1_000 })
  return { clock, expiry: createExpiry(clock, newestMs, log) }
}

const buildLimits = (config: Config): BuildLimits => ({
  maxArchiveBytes: config.SHEAF_MAX_ARCHIVE_BYTES,
  archiveTimeoutMs: config.SHEAF_ARCHIVE_TIMEOUT_MS,
  retentionMs: config.SHEAF_RETENTION_MS,
  abortedRetentionMs: Math.min(config.SHEAF_RETENTION_MS, config.SHEAF_ABORTED_RETENTION_MS),
})

/** What the archives of one client may take on the disk. */
async function holdingLimits(config: Config, spool: SpoolRoom): Promise<HoldingsLimits> {
  const { usedBytes, freeBytes } = await spool.room()
  const share = config.SHEAF_PUBLIC ? Math.floor(((usedBytes + freeBytes) * 2) / 3) : Number.POSITIVE_INFINITY
  return {
    maxHeldBytesPerClient: config.SHEAF_MAX_BYTES_PER_CLIENT || share,
    maxBytesPerClientADay: config.SHEAF_MAX_BYTES_PER_CLIENT_A_DAY,
    maxJournalBytes: config.SHEAF_JOURNAL_MAX_BYTES,
  }
}

/** Who may use the server, and how much of it a client may hold. */
function httpLimits(config: Config, maxSockets: number) {
  return {
    guard: {
      allowedHosts: new Set(config.SHEAF_ALLOWED_HOSTS),
      allowedOrigins: new Set(config.SHEAF_ALLOWED_ORIGINS),
    },
    incoming: {
      maxBytes: MESSAGE_OVERHEAD * config.SHEAF_MAX_MANIFEST_BYTES,
      json: { maxDepth: JSON_DEPTH, maxTokens: ENTRY_TOKENS * config.SHEAF_MAX_ENTRIES + OTHER_TOKENS },
    },
    maxSockets,
    maxSocketsPerClient: config.SHEAF_MAX_SOCKETS_PER_CLIENT,
    limits: {
      // All sockets together are limited when they are accepted, so `inAll` adds no limit of its own.
      websockets: createQuota({ perKey: config.SHEAF_MAX_WEBSOCKETS_PER_CLIENT, inAll: maxSockets }),
      subscriptions: createQuota({
        perKey: config.SHEAF_MAX_SUBSCRIPTIONS_PER_CLIENT,
        inAll: config.SHEAF_MAX_SUBSCRIPTIONS,
      }),
      downloads: createQuota({ perKey: config.SHEAF_MAX_DOWNLOADS_PER_CLIENT, inAll: config.SHEAF_MAX_DOWNLOADS }),
      maxSubscriptionsPerSocket: config.SHEAF_MAX_SUBSCRIPTIONS_PER_SOCKET,
      trustProxy: config.SHEAF_TRUST_PROXY,
    },
    slowReaderMs: config.SHEAF_SLOW_READER_MS,
    downloadIdleTimeoutMs: config.SHEAF_DOWNLOAD_IDLE_TIMEOUT_MS,
    downloadMinBytesPerSecond: config.SHEAF_DOWNLOAD_MIN_BYTES_PER_SECOND,
    downloadTimeoutMs: config.SHEAF_DOWNLOAD_TIMEOUT_MS,
  }
}

/** Checks the directory before anything is opened, so that the error can name the setting. */
async function openDataDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const reasons: Record<string, string> = {
      EEXIST: 'it is not a directory',
      ENOTDIR: 'it lies below something that is not a directory',
      EROFS: 'its file system is read-only',
      EACCES: 'this user may not write there',
    }
    const reason = reasons[code ?? ''] ?? describe(error)
    throw new DataDirectoryError(`SHEAF_DATA_DIR: ${path} cannot be used: ${reason}`, { cause: error })
  }
}

/** What may be open at a time: what the settings say, or less if the process may not open that many files. */
async function fitDescriptors(config: Config, log: Log): Promise<DescriptorNeeds> {
  const archives = seatsInAll(config.SHEAF_MAX_ACTIVE_ARCHIVES)
  const wanted = {
    sockets: config.SHEAF_MAX_SOCKETS,
    fetches: sharesOf(config.SHEAF_MAX_FETCHES).inAll + SURE_FETCHES * (archives + MAX_PLANS.inAll),
    parts: MAX_OPEN_PARTS,
    archives,
  }
  const limit = await descriptorLimit()
  const most = shareDescriptors(limit, wanted)
  const isLess = Object.entries(most).some(([name, count]) => count < wanted[name as keyof typeof wanted])
  if (isLess) log.warn('few descriptors (ulimit -n): the limits of the settings are lowered', { limit, ...most })
  return most
}

/** Sample images are optional, so the server starts even if their port is not available. */
async function openSamples({ SHEAF_SAMPLES_PORT }: Config, log: Log): Promise<Samples | null> {
  if (SHEAF_SAMPLES_PORT === NO_SAMPLES) return null
  try {
    return await startSamples(SHEAF_SAMPLES_PORT)
  } catch (error) {
    log.warn('no sample images', { port: SHEAF_SAMPLES_PORT, error: describe(error) })
    return null
  }
}

function infoOf(config: Config, samples: string[]): ServerInfo {
  return {
    version: pkg.version,
    protocol: 1,
    formats: ['zip', 'tar', 'tar.gz'],
    limits: {
      maxEntries: config.SHEAF_MAX_ENTRIES,
      maxManifestBytes: config.SHEAF_MAX_MANIFEST_BYTES,
      maxEntryBytes: config.SHEAF_MAX_ENTRY_BYTES,
      maxArchiveBytes: config.SHEAF_MAX_ARCHIVE_BYTES,
    },
    abandonMs: config.SHEAF_ABANDON_MS,
    retentionMs: config.SHEAF_RETENTION_MS,
    samples,
  }
}
