// Saves one archive: submits, watches, downloads while it grows, checks. Owns only the order of these steps.
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import type { AbortedEvent, AcceptedEvent, ArchiveEvent, CompleteEvent } from '#contracts/events.ts'
import { DownloadError, type DownloadProgress } from './download.ts'
import type { Stored, StoreOptions } from './store.ts'

export interface SaveOptions
  extends Pick<StoreOptions, 'giveUpAfterMs' | 'idleTimeoutMs' | 'onEntry' | 'onCheck' | 'hashed'> {
  signal?: AbortSignal
  /**
   * A path, which is replaced once the archive is whole, or a stream.
   * @default the archive's own name in the current directory
   */
  output?: string | Writable
  /** Called for every event, in order. The next event waits until it resolves. */
  onEvent?: (event: ArchiveEvent) => void | Promise<void>
  onDownload?: (progress: DownloadProgress) => void
}

export interface SavedArchive extends Stored {
  accepted: AcceptedEvent
  complete: CompleteEvent
}

/** The archive ended without a result. `event` says why. */
export class ArchiveAbortedError extends Error {
  override readonly name = 'ArchiveAbortedError'
  readonly event: AbortedEvent

  constructor(event: AbortedEvent) {
    super(event.message)
    this.event = event
  }
}

/** An archive that ends at once may be gone before the event with the reason arrives, which is worth this wait. */
const WHY_WITHIN_MS = 2_000

export type Store = (accepted: AcceptedEvent, target: string | Writable, options: StoreOptions) => Promise<Stored>

/**
 * Follows `watch` to its end while `store` downloads. The one that fails first ends the other, and its error is thrown.
 * If the archive is missing, an event with the reason goes first. Both have ended when this settles. It does not cancel
 * the archive.
 */
export async function saveArchive(
  watch: (signal: AbortSignal) => AsyncIterable<ArchiveEvent>,
  store: Store,
  { signal, output, onEvent, onDownload, ...options }: SaveOptions,
): Promise<SavedArchive> {
  const ending = new AbortController()
  const scope = signal === undefined ? ending.signal : AbortSignal.any([signal, ending.signal])
  const complete = Promise.withResolvers<CompleteEvent>()
  complete.promise.catch(() => {})
  let accepted: AcceptedEvent | null = null
  let isGrowing = true
  let storing: Promise<Stored> | null = null

  const start = (event: AcceptedEvent) => {
    const [target, ifTaken] =
      output === undefined ? ([join('.', safeFileName(event)), 'number'] as const) : ([output, 'replace'] as const)
    storing = store(event, target, {
      ...options,
      ifTaken,
      signal: scope,
      complete: complete.promise,
      isGrowing: () => isGrowing,
      onProgress: onDownload,
    })
    storing.catch((error) => {
      const isMissing = error instanceof DownloadError && error.code === 'MISSING'
      if (!isMissing) ending.abort(error)
      // Does nothing if an event has ended it by then.
      else setTimeout(() => ending.abort(error), WHY_WITHIN_MS).unref()
    })
  }

  try {
    for await (const event of watch(scope)) {
      await onEvent?.(event)
      if (event.type === 'accepted') {
        accepted ??= event
        // Only a zip can be read while it grows. A tar is packed at the end.
        if (storing === null && event.format === 'zip') start(event)
      }
      if (event.type === 'aborted') throw new ArchiveAbortedError(event)
      if (event.type === 'complete') complete.resolve(event)
    }
    isGrowing = false
    if (accepted === null) throw new Error('the events ended before the archive was accepted')
    if (storing === null) start(accepted)
    return { ...(await storing!), accepted, complete: await complete.promise }
  } catch (error) {
    isGrowing = false
    ending.abort(error)
    complete.reject(error)
    await (storing as Promise<Stored> | null)?.catch(() => {})
    throw signal?.aborted ? signal.reason : ending.signal.reason
  }
}

/** The name comes from the server, so it is cleaned: it must name a file in the current directory, and nothing else. */
export function safeFileName({ name, format }: Pick<AcceptedEvent, 'name' | 'format'>): string {
  const cleaned = name
    .replaceAll(/[\p{Cc}\p{Cf}\p{Cs}<>:"/\\|?*]/gu, '_')
    .replace(/^[.\s]+/, '')
    .trim()
  return cleaned === '' ? `archive.${format}` : cleaned
}
