// All settings: names, defaults, units, meanings. The only reader of the environment. Refuses bad combinations.
import { join, resolve } from 'node:path'
import * as z from 'zod'
import { type AllowRule, parseAllowList } from './fetch/address.ts'

const MiB = 1024 ** 2
const GiB = 1024 ** 3
const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

const count = (fallback: number, least = 1) => z.coerce.number().int().min(least).default(fallback)
const bytes = (fallback: number) => count(fallback)
const ms = (fallback: number) => count(fallback)
/** Limited to the longest delay that setTimeout accepts. */
const timerMs = (fallback: number) =>
  z.coerce
    .number()
    .int()
    .min(1)
    .max(2 ** 31 - 1)
    .default(fallback)
const flagOf = (fallback: 'true' | 'false') =>
  z
    .enum(['true', 'false'])
    .default(fallback)
    .transform((text) => text === 'true')
const flag = flagOf('false')
const list = z
  .string()
  .default('')
  .transform((text) =>
    text
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== ''),
  )

const settings = {
  SHEAF_HOST: z.string().default('127.0.0.1').describe('address to listen on'),
  SHEAF_PORT: z.coerce.number().int().min(0).max(65535).default(8011).describe('port to listen on; 0 takes a free one'),
  SHEAF_PUBLIC: flag.describe('true: allows listening beyond loopback, which is refused otherwise'),
  SHEAF_ALLOWED_HOSTS: list.describe('host names by which clients reach this server, besides localhost and addresses'),
  SHEAF_ALLOWED_ORIGINS: list.describe('web origins whose pages may use this server, besides its own'),
  SHEAF_DATA_DIR: z.string().default('.sheaf').describe('folder for journal and spool; only one process can use it'),
  SHEAF_SPOOL_MAX_BYTES: count(0, 0).describe(
    'bytes that all archives together may take on disk, journal included; 0: as many as the disk has',
  ),
  SHEAF_SPOOL_RESERVE_BYTES: count(256 * MiB, 0).describe('free bytes of the disk that are left alone'),
  SHEAF_JOURNAL_MAX_BYTES: bytes(4 * GiB).describe(
    'bytes that manifests and facts of all archives may take; one client alone gets two thirds',
  ),
  SHEAF_LOG: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('least level that is logged'),
  SHEAF_SAMPLES_PORT: z.coerce
    .number()
    .int()
    .min(-1)
    .max(65535)
    .default(-1)
    .describe('loopback port of the sample images; 0 takes a free one, -1 offers none; with --samples: 8012'),
  SHEAF_ALLOW_ADDRESSES: z
    .string()
    .default('')
    .describe('ip:port, address or CIDR that may be fetched from even if not public, comma-separated'),
  SHEAF_DENY_ADDRESSES: z
    .string()
    .default('')
    .describe(
      'the same, but never fetched from, even if public or allowed: own public addresses, the NAT64 prefix of the network',
    ),
  SHEAF_ORIGINS_FILE: z
    .string()
    .default('')
    .describe(
      'JSON file of what is set for origins: requests at a time and a second, headers, never to be fetched from',
    ),
  SHEAF_ALLOWED_PORTS: list.describe('ports that may be fetched from (default 80,443,8080,8443)'),
  SHEAF_CONNECT_TIMEOUT_MS: timerMs(10 * SECOND).describe('for name, TCP and TLS together'),
  SHEAF_HEADERS_TIMEOUT_MS: timerMs(30 * SECOND).describe(
    'from the request to the end of the response headers; four times as long while the origin answers one after the other',
  ),
  SHEAF_IDLE_TIMEOUT_MS: timerMs(30 * SECOND).describe('longest silence in a body'),
  SHEAF_ENTRY_TIMEOUT_MS: timerMs(30 * MINUTE).describe('for one entry in all, retries included'),
  SHEAF_MIN_BYTES_PER_SECOND: count(100, 0).describe('least rate of a body, taken over the idle timeout'),
  SHEAF_MAX_ATTEMPTS: count(4).describe(
    'attempts at one entry that bring nothing; refusals by an origin that is asked too much do not count',
  ),
  SHEAF_MAX_REDIRECTS: count(20, 0).describe('redirects followed for one entry'),
  SHEAF_MAX_ENTRIES: count(20_000).describe('entries in one archive'),
  SHEAF_MAX_ENTRY_BYTES: bytes(10 * GiB).describe('bytes of one entry'),
  SHEAF_MAX_ARCHIVE_BYTES: bytes(100 * GiB).describe('bytes of one archive'),
  SHEAF_MAX_MANIFEST_BYTES: bytes(4 * MiB).describe('bytes of one manifest'),
  SHEAF_ARCHIVE_TIMEOUT_MS: timerMs(12 * HOUR).describe('for building one archive'),
  SHEAF_MAX_FETCHES: count(96).describe(
    'fetches of one archive at a time; others of its client get half as many more, and so do other clients',
  ),
  SHEAF_MAX_FETCHES_PER_ORIGIN: count(32).describe('of these, from one origin, with the same reserve for others'),
  SHEAF_POOLED_SOCKETS: flagOf('true').describe(
    'true: sockets for fetching read into pooled memory; false: into a new buffer for every read',
  ),
  SHEAF_STAGING_BYTES: bytes(64 * MiB).describe('memory for bodies that wait for their turn'),
  SHEAF_MAX_ACTIVE_ARCHIVES: count(64).describe(
    'archives of one client that are built at a time, half as many more for other clients; more wait in a queue',
  ),
  SHEAF_MAX_UNFINISHED_ARCHIVES: count(1_000).describe('archives that are built or queued; more are refused as BUSY'),
  SHEAF_MAX_ARCHIVES_PER_CLIENT: count(200).describe('of these, from one client address'),
  SHEAF_MAX_BYTES_PER_CLIENT: count(0, 0).describe(
    'bytes on disk that the archives of one client address may take, journal included; 0: no limit, or two thirds of the space with SHEAF_PUBLIC',
  ),
  SHEAF_MAX_BYTES_PER_CLIENT_A_DAY: bytes(1024 * GiB).describe(
    'bytes that one client address may have written to the disk in a day (UTC)',
  ),
  SHEAF_MAX_SOCKETS: count(4_000).describe('connections to this server'),
  SHEAF_MAX_SOCKETS_PER_CLIENT: count(2_500).describe(
    'of these, from one client address; does not apply to a trusted proxy',
  ),
  SHEAF_MAX_WEBSOCKETS_PER_CLIENT: count(2_000).describe('websockets from one client address'),
  SHEAF_MAX_SUBSCRIPTIONS: count(10_000).describe('watches in all'),
  SHEAF_MAX_SUBSCRIPTIONS_PER_CLIENT: count(2_000).describe('watches from one client address'),
  SHEAF_MAX_SUBSCRIPTIONS_PER_SOCKET: count(100).describe('watches on one websocket'),
  SHEAF_MAX_DOWNLOADS: count(1_000).describe('downloads at a time'),
  SHEAF_MAX_DOWNLOADS_PER_CLIENT: count(200).describe('downloads at a time from one client address'),
  SHEAF_TRUST_PROXY: flag.describe(
    'true: client addresses are taken from X-Forwarded-For, which the proxy in front sets',
  ),
  SHEAF_ABANDON_MS: timerMs(2 * MINUTE).describe('an archive that nobody watches or downloads is aborted after this'),
  SHEAF_RETENTION_MS: ms(24 * HOUR).describe('an archive can be downloaded this long after it is complete'),
  SHEAF_ABORTED_RETENTION_MS: ms(10 * MINUTE).describe('the end of an aborted archive can be read for this long'),
  SHEAF_SLOW_READER_MS: timerMs(30 * SECOND).describe(
    'a client that takes nothing, or almost nothing, of waiting data for this long is dropped',
  ),
  SHEAF_DOWNLOAD_IDLE_TIMEOUT_MS: timerMs(MINUTE).describe('a download that takes no bytes for this long is cut off'),
  SHEAF_DOWNLOAD_MIN_BYTES_PER_SECOND: count(1_000, 0).describe(
    'least rate of a download, taken over its idle timeout; waiting for the archive to grow does not count',
  ),
  SHEAF_DOWNLOAD_TIMEOUT_MS: timerMs(12 * HOUR).describe('longest time of one download'),
}

const schema = z.object(settings)

export interface Config
  extends Omit<z.infer<typeof schema>, 'SHEAF_ALLOW_ADDRESSES' | 'SHEAF_DENY_ADDRESSES' | 'SHEAF_ALLOWED_PORTS'> {
  SHEAF_ALLOW_ADDRESSES: AllowRule[]
  SHEAF_DENY_ADDRESSES: AllowRule[]
  SHEAF_ALLOWED_PORTS: number[]
}

/** The settings are wrong. The message names the variables and their allowed values. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const SAMPLES_PORT = 8012
export const NO_SAMPLES = -1
const LOOPBACK = /^(127(\.\d{1,3}){3}|::1|localhost)$/

/**
 * @param offersSamples offers sample images to this machine, unless SHEAF_SAMPLES_PORT is set
 * @throws ConfigError
 */
export function readConfig({ offersSamples }: { readonly offersSamples: boolean }): Config {
  const { env } = process
  const unknown = Object.keys(env).filter(
    (name) => name.startsWith('SHEAF_') && !(name in settings) && name !== 'SHEAF_SERVER',
  )
  if (unknown.length > 0) throw new ConfigError(`no such setting: ${unknown.join(', ')} (--help lists them)`)
  // An empty variable counts as not set, because shells and compose files leave variables out that way.
  const given = Object.fromEntries(Object.entries(env).filter(([name, value]) => name in settings && value !== ''))
  const { data, error } = schema.safeParse(given)
  if (error) throw new ConfigError(error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('\n'))
  const ports = data.SHEAF_ALLOWED_PORTS.map(Number)
  if (ports.some((port) => !Number.isInteger(port) || port < 1 || port > 65535)) {
    throw new ConfigError('SHEAF_ALLOWED_PORTS: ports from 1 to 65535, comma-separated')
  }
  const badOrigin = data.SHEAF_ALLOWED_ORIGINS.find((origin) => URL.parse(origin)?.origin !== origin)
  if (badOrigin !== undefined) {
    throw new ConfigError(
      `SHEAF_ALLOWED_ORIGINS: ${badOrigin} is not an origin such as https://app.example, without a path`,
    )
  }
  const badHost = data.SHEAF_ALLOWED_HOSTS.find((name) => URL.parse(`http://${name}`)?.hostname !== name.toLowerCase())
  if (badHost !== undefined) {
    throw new ConfigError(`SHEAF_ALLOWED_HOSTS: ${badHost} is not a host name without scheme and port`)
  }
  if (!LOOPBACK.test(data.SHEAF_HOST) && !data.SHEAF_PUBLIC) {
    throw new ConfigError(
      `SHEAF_HOST=${data.SHEAF_HOST} listens beyond this machine; set SHEAF_PUBLIC=true if that is meant`,
    )
  }
  const isLocal = LOOPBACK.test(data.SHEAF_HOST)
  if (!isLocal && data.SHEAF_SAMPLES_PORT !== NO_SAMPLES) {
    throw new ConfigError(`SHEAF_SAMPLES_PORT: with SHEAF_HOST=${data.SHEAF_HOST} no samples are offered`)
  }
  return {
    ...data,
    ...(offersSamples && isLocal && given.SHEAF_SAMPLES_PORT === undefined && { SHEAF_SAMPLES_PORT: SAMPLES_PORT }),
    SHEAF_DATA_DIR: resolve(data.SHEAF_DATA_DIR),
    SHEAF_ALLOWED_HOSTS: data.SHEAF_ALLOWED_HOSTS.map((name) => name.toLowerCase()),
    SHEAF_ALLOW_ADDRESSES: parseRules('SHEAF_ALLOW_ADDRESSES', data),
    SHEAF_DENY_ADDRESSES: parseRules('SHEAF_DENY_ADDRESSES', data),
    SHEAF_ALLOWED_PORTS: ports.length > 0 ? ports : [80, 443, 8080, 8443],
  }
}

function parseRules<N extends string>(name: N, settings: Record<N, string>): AllowRule[] {
  try {
    return parseAllowList(settings[name])
  } catch (error) {
    throw new ConfigError(`${name}: ${(error as Error).message}`)
  }
}

export const journalFile = ({ SHEAF_DATA_DIR }: Config) => join(SHEAF_DATA_DIR, 'journal.db')
export const spoolDirectory = ({ SHEAF_DATA_DIR }: Config) => join(SHEAF_DATA_DIR, 'spool')

/** Describes each setting by name, default and meaning. The name's ending is the unit. */
export function describeSettings(): { name: string; fallback: string; meaning: string }[] {
  return Object.entries(settings).map(([name, setting]) => ({
    name,
    fallback: String(setting.parse(undefined)),
    meaning: setting.description ?? '',
  }))
}
