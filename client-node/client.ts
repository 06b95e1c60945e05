// The client of a sheaf server: every call of the contract, and downloads. Owns the connections; prints nothing.
import type { Writable } from 'node:stream'
import { Agent } from 'undici'
import type { ArchivePlan, EntryStatus, ServerInfo } from '#contracts/api.ts'
import type { ArchiveFormat, ArchiveKey, CreateArchiveInput, PlanArchiveInput } from '#contracts/archive.ts'
import { readFailure } from '#contracts/client/failures.ts'
import { type ConnectionOptions, connect, newArchiveKey } from '#contracts/client.ts'
import type { AcceptedEvent, ArchiveEvent, CompleteEvent } from '#contracts/events.ts'
import { DownloadError } from './download.ts'
import { formatOfFileName } from './format.ts'
import { type SavedArchive, type SaveOptions, saveArchive } from './save.ts'
import { type Stored, type StoreOptions, storeArchive } from './store.ts'

export type ArchiveRequest = Omit<CreateArchiveInput, 'archiveKey' | 'lastEventId'> & {
  /** Secret. The same key and manifest again mean the same archive. @default a new one */
  archiveKey?: ArchiveKey
}

export interface CallOptions {
  signal?: AbortSignal
}

/** Can be iterated once. Leaving the loop ends the watch, not the archive. */
export interface ArchiveEvents extends AsyncIterable<ArchiveEvent> {
  readonly archiveKey: ArchiveKey
}

/** A complete event has the size, the ETag and perhaps the SHA-256 that the bytes are checked against. */
export type DownloadSource = string | Pick<AcceptedEvent, 'href'> | CompleteEvent

export interface SheafClient extends AsyncDisposable {
  readonly url: string
  /** Submits the manifest and yields its events, through reconnects, until `complete` or `aborted`. */
  createArchive(request: ArchiveRequest, options?: CallOptions): ArchiveEvents
  watchArchive(archiveKey: ArchiveKey, options?: CallOptions & { lastEventId?: string | null }): ArchiveEvents
  /** True if this call ended the build. */
  cancelArchive(archiveKey: ArchiveKey, options?: CallOptions): Promise<boolean>
  /**
   * A dry run: reports which entries would be in the archive, with which names and sizes. No archive is made. With
   * `head` the server asks all origins, which may take most of a minute.
   */
  planArchive(request: PlanArchiveInput, options?: CallOptions): Promise<ArchivePlan>
  /** All entries of an archive, fetched page by page. */
  listEntries(archiveKey: ArchiveKey, options?: CallOptions & { pageSize?: number }): AsyncIterable<EntryStatus>
  /** Writes to a file, which is replaced once the archive is whole and checked, or to a stream as the bytes come. */
  download(source: DownloadSource, target: string | Writable, options?: StoreOptions): Promise<Stored>
  /** Creates an archive and downloads it while it grows. */
  saveArchive(request: ArchiveRequest, options?: SaveOptions): Promise<SavedArchive>
  echo(text: string, options?: CallOptions): Promise<string>
  serverInfo(options?: CallOptions): Promise<ServerInfo>
  /** Ends all calls, watches and downloads under way. */
  close(): Promise<void>
}

function isComplete(source: DownloadSource): source is CompleteEvent {
  return typeof source === 'object' && 'type' in source && source.type === 'complete'
}

/**
 * Returns the URL of an archive of this server. The href comes from the server and is not trusted: "@other.example/x",
 * appended to the base, would name another host.
 * @throws DownloadError REFUSED if the URL is not below the server's own /archives/
 */
function addressOf(base: string, href: string): string {
  const root = new URL(base)
  const prefix = root.pathname.replace(/\/$/, '')
  const address = URL.parse(base + href)
  // An href that the parser changes, e.g. because of dots or backslashes, is not the address of an archive.
  const isOwn = address?.origin === root.origin && address.username === '' && address.pathname === prefix + href
  if (isOwn && /^\/archives\/[^/]+\/[^/]+$/.test(href)) return address.href
  throw new DownloadError(
    'REFUSED',
    `${JSON.stringify(href.slice(0, 200))} is not the address of an archive at ${base}`,
  )
}

/** A single call fails if it is not answered within this time. */
const CALL_TIMEOUT_MS = 30_000

/** Opens no connection; each call opens what it needs. */
export function createSheafClient(options: ConnectionOptions): SheafClient {
  const connection = connect(options)
  const { trpc, url } = connection
  const agent = new Agent({ connect: { timeout: 10_000 }, keepAliveTimeout: 4_000 })

  const store = async (
    source: DownloadSource,
    format: ArchiveFormat,
    target: string | Writable,
    options?: StoreOptions,
  ) => storeArchive(addressOf(url, typeof source === 'string' ? source : source.href), format, target, agent, options)

  const client: SheafClient = {
    url,
    createArchive({ archiveKey = newArchiveKey(), ...manifest }, options) {
      return Object.assign(connection.createArchive({ ...manifest, archiveKey }, options), { archiveKey })
    },
    watchArchive(archiveKey, options) {
      return Object.assign(connection.watchArchive(archiveKey, options), { archiveKey })
    },
    cancelArchive(archiveKey, options) {
      return call(options, async (signal) => {
        return (await trpc.cancelArchive.mutate({ archiveKey }, { signal })).cancelled
      })
    },
    planArchive: (request, options) => connection.planArchive(request, options),
    async *listEntries(archiveKey, { signal, pageSize: limit = 1000 } = {}) {
      let cursor: number | null = 0
      while (cursor !== null) {
        const from: number = cursor
        const page = await call({ signal }, (signal) =>
          trpc.listEntries.query({ archiveKey, cursor: from, limit }, { signal }),
        )
        yield* page.entries
        cursor = page.nextCursor
      }
    },
    async download(source, target, options) {
      const href = typeof source === 'string' ? source : source.href
      const format = formatOfFileName(new URL(addressOf(url, href)).pathname)
      if (format === null) throw new TypeError(`${href} is not the href of an archive`)
      const complete = isComplete(source) ? Promise.resolve(source) : undefined
      return await store(source, format, target, { complete, ...options })
    },
    saveArchive(request, options = {}) {
      const watch = (signal: AbortSignal) => client.createArchive(request, { signal })
      const hashed = request.checksum !== undefined
      return saveArchive(watch, (accepted, target, options) => store(accepted, accepted.format, target, options), {
        hashed,
        ...options,
      })
    },
    async echo(text, options) {
      return (await call(options, (signal) => trpc.echo.mutate({ text }, { signal }))).text
    },
    serverInfo(options) {
      return call(options, (signal) => trpc.serverInfo.query(undefined, { signal }))
    },
    async close() {
      await Promise.all([connection.close(), agent.destroy()])
    },
    async [Symbol.asyncDispose]() {
      await client.close()
    },
  }
  return client

  async function call<T>({ signal }: CallOptions = {}, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const deadline = AbortSignal.timeout(CALL_TIMEOUT_MS)
    try {
      return await run(signal === undefined ? deadline : AbortSignal.any([signal, deadline]))
    } catch (error) {
      signal?.throwIfAborted()
      throw readFailure(error, url).error
    }
  }
}
