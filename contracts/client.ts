// The code both clients share: links, reconnect, the two ways to submit. Browser-safe, with its parts under client/, and
// the only code that imports @trpc/client.
import { createTRPCClient, createWSClient, httpLink, splitLink, wsLink } from '@trpc/client'
import type { ArchivePlan } from './api.ts'
import type { ArchiveKey, CreateArchiveInput, PlanArchiveInput } from './archive.ts'
import { isNotFound, NotBegunError, readFailure } from './client/failures.ts'
import { backoffMs, sleep } from './client/reconnect.ts'
import { type Open, subscribe } from './client/subscription.ts'
import { type ArchiveEvent, isTerminal } from './events.ts'
import type { AppRouter } from './router.ts'
import { PROTOCOL_HEADER, paths, transformer } from './wire.ts'

export { RefusedError, UnreachableError } from './client/failures.ts'

export interface ConnectionOptions {
  /** Where the server is: "http://127.0.0.1:8011", also with a path prefix. */
  url: string
  /** Fail when the server could not be reached for this long. @default Infinity */
  giveUpAfterMs?: number
  /** Told when the way to the server is lost (with a reason) and when it is there again (null). */
  onConnectionChange?: (lost: string | null) => void
}

export interface WatchOptions {
  signal?: AbortSignal
  /** Go on after this event. */
  lastEventId?: string | null
}

/** A new secret key of 192 random bits. */
export function newArchiveKey(): ArchiveKey {
  const bytes = crypto.getRandomValues(new Uint8Array(24))
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
}

const CLOSED = 'this connection is closed'

type Manifest = Omit<CreateArchiveInput, 'lastEventId'>

interface FollowOptions extends WatchOptions {
  /** Without an event by then, or if the connection or the call fails before it for now, the end is a NotBegunError. */
  beginWithinMs?: number | undefined
  /** Called once at most, if the server does not know the archive (any more); then all is told from the beginning. */
  submitAgain?: (() => Promise<unknown>) | undefined
}

/** Acceptance is the first fact of every archive. */
const ACCEPTED_ID = '1'
/**
 * A manifest up to this goes over the socket, where it takes one round trip less than an HTTP call. A larger one does not:
 * where it is too large for a server, that closes the socket, and after a lost connection it would be sent again.
 */
const MAX_SOCKET_CHARS = 64 * 1024
const BEGIN_WITHIN_MS = 5_000

export type Connection = ReturnType<typeof connect>

/** Opens nothing by itself: the socket is opened by the first watch, and closed some seconds after the last. */
export function connect({ url, giveUpAfterMs = Infinity, onConnectionChange }: ConnectionOptions) {
  const base = url.replace(/\/+$/, '')
  const socket = createWSClient({
    url: base.replace(/^http/, 'ws') + paths.trpc,
    connectionParams: { [PROTOCOL_HEADER]: '1' },
    retryDelayMs: backoffMs,
    keepAlive: { enabled: true, intervalMs: 15_000, pongTimeoutMs: 10_000 },
    lazy: { enabled: true, closeMs: 5_000 },
  })
  const trpc = createTRPCClient<AppRouter>({
    links: [
      splitLink({
        condition: (operation) => operation.type === 'subscription',
        true: wsLink({ client: socket, transformer }),
        // By POST throughout: a key must not stand in a URL.
        false: httpLink({
          url: base + paths.trpc,
          transformer,
          methodOverride: 'POST',
          headers: { [PROTOCOL_HEADER]: '1' },
        }),
      }),
    ],
  })

  let isClosed = false

  /** What was told last: that all is well is told once. */
  let told: string | null = null
  function tell(lost: string | null): void {
    if (lost !== null || told !== null) onConnectionChange?.(lost)
    told = lost
  }

  /** Repeats an idempotent call while the server is unreachable or asks to come back later. */
  async function insist<T>(call: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const giveUpAt = performance.now() + giveUpAfterMs
    for (let attempt = 0; ; attempt++) {
      if (isClosed) throw new Error(CLOSED)
      try {
        const answer = await call()
        tell(null)
        return answer
      } catch (error) {
        signal?.throwIfAborted()
        const failure = readFailure(error, base)
        const waitMs = Math.max(backoffMs(attempt), failure.retryAfterMs ?? 0)
        if (!failure.retryable || performance.now() + waitMs > giveUpAt) throw failure.error
        tell(failure.error.message)
        await sleep(waitMs, signal)
      }
    }
  }

  /** Events after `lastEventId`, through any number of reconnects, until the terminal one. */
  async function* follow(open: Open, { signal, lastEventId, beginWithinMs, submitAgain }: FollowOptions) {
    let fruitless = 0
    let giveUpAt = performance.now() + giveUpAfterMs
    for (;;) {
      if (isClosed) throw new Error(CLOSED)
      let waitMs = backoffMs(fruitless++)
      try {
        const subscription = { signal, lastEventId, beginWithinMs, giveUpAfterMs, url: base, onConnectionChange: tell }
        for await (const { id, event } of subscribe(open, subscription)) {
          lastEventId = id
          beginWithinMs = undefined
          fruitless = 0
          giveUpAt = performance.now() + giveUpAfterMs
          yield event
          if (isTerminal(event)) return
        }
      } catch (error) {
        signal?.throwIfAborted()
        const failure = readFailure(error, base)
        // The server has lost what it knew of the archive: with the manifest at hand, it is asked for once more.
        if (submitAgain !== undefined && isNotFound(failure.error)) {
          await submitAgain()
          submitAgain = undefined
          lastEventId = null
          continue
        }
        // The archive may have been accepted, only not its watching.
        if (failure.retryable && beginWithinMs !== undefined) throw new NotBegunError()
        waitMs = Math.max(waitMs, failure.retryAfterMs ?? 0)
        if (!failure.retryable || performance.now() + waitMs > giveUpAt) throw failure.error
        tell(failure.error.message)
      }
      await sleep(waitMs, signal)
    }
  }

  /** Events from the beginning or after `lastEventId`, through any number of reconnects, until the terminal one. */
  function watchArchive(archiveKey: ArchiveKey, options: WatchOptions = {}): AsyncGenerator<ArchiveEvent> {
    return follow(watching(archiveKey), options)
  }

  const watching =
    (archiveKey: ArchiveKey): Open =>
    (lastEventId, observer) =>
      trpc.watchArchive.subscribe({ archiveKey, lastEventId }, observer)

  /** Submits by an HTTP call, then watches. */
  async function* callAndWatch(manifest: Manifest, { signal, lastEventId }: WatchOptions) {
    const { archiveKey } = manifest
    const submit = () => insist(() => trpc.submitArchive.mutate(manifest, { signal }), signal)
    const watch = (options: WatchOptions) => follow(watching(archiveKey), { ...options, submitAgain: submit })
    const accepted = await submit()
    if (lastEventId != null) return yield* watch({ signal, lastEventId })
    // Told at once, not when the socket is open: a download can begin now. But watched already, however long the
    // caller takes: an archive that nobody watches is wound down.
    const left = new AbortController()
    const either = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal])
    const events = watch({ signal: either, lastEventId: ACCEPTED_ID })
    const second = events.next()
    second.catch(() => {})
    try {
      yield accepted
      const { done, value } = await second
      if (done) return
      yield value
      yield* events
    } finally {
      // abort() ends a pending next(); return() ends a generator that stands at a yield.
      left.abort()
      await events.return(undefined)
    }
  }

  return {
    url: base,
    trpc,
    watchArchive,

    /** Submits the manifest (again, if need be: the key makes that harmless), then watches. */
    async *createArchive(input: CreateArchiveInput, options: WatchOptions = {}): AsyncGenerator<ArchiveEvent> {
      const { lastEventId: _, ...manifest } = input
      const { archiveKey } = input
      if (options.lastEventId == null && JSON.stringify(manifest).length <= MAX_SOCKET_CHARS) {
        try {
          const open: Open = (lastEventId, observer) =>
            lastEventId == null
              ? trpc.createArchive.subscribe(manifest, observer)
              : watching(archiveKey)(lastEventId, observer)
          // Opened from the beginning, it submits by itself.
          const submitAgain = async () => {}
          return yield* follow(open, { ...options, beginWithinMs: BEGIN_WITHIN_MS, submitAgain })
        } catch (error) {
          if (!(error instanceof NotBegunError)) throw error
        }
      }
      yield* callAndWatch(manifest, options)
    },

    async cancelArchive(archiveKey: ArchiveKey): Promise<boolean> {
      return (await insist(() => trpc.cancelArchive.mutate({ archiveKey }), undefined)).cancelled
    },

    /** What an archive would be; nothing is made. */
    planArchive(input: PlanArchiveInput, { signal }: Pick<WatchOptions, 'signal'> = {}): Promise<ArchivePlan> {
      return insist(() => trpc.planArchive.query(input, { signal }), signal)
    },

    /** Ends what is under way. */
    async close(): Promise<void> {
      isClosed = true
      await socket.close()
    },
  }
}
