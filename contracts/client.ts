// What both clients share: links, reconnect, the two ways to submit. It is browser-safe. Only this file and its parts
// under client/ import @trpc/client.
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
  /** Base URL of the server, e.g. "http://127.0.0.1:8011"; may have a path prefix. */
  url: string
  /** Calls fail once the server could not be reached for this long. @default Infinity */
  giveUpAfterMs?: number
  /** Called with a reason when the connection to the server is lost, and with null when it is back. */
  onConnectionChange?: (lost: string | null) => void
}

export interface WatchOptions {
  signal?: AbortSignal
  /** Goes on after this event. */
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
  /** Throws a NotBegunError if no event comes within this time, or if the connection or the call fails before one. */
  beginWithinMs?: number | undefined
  /** Called at most once, if the server does not know the archive. All events then come again from the beginning. */
  submitAgain?: (() => Promise<unknown>) | undefined
}

/** Acceptance is the first fact of every archive. */
const ACCEPTED_ID = '1'
/**
 * The largest manifest that goes over the socket, which takes one round trip less than an HTTP call. A larger one does
 * not go over the socket: a server for which it is too large would close the socket, and it would be sent again after
 * each lost connection.
 */
const MAX_SOCKET_CHARS = 64 * 1024
const BEGIN_WITHIN_MS = 5_000

export type Connection = ReturnType<typeof connect>

/** The socket opens with the first watch, and closes some seconds after the last one ends. */
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
        // All calls are POSTs, because a key must not be part of a URL.
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

  /** What was reported last, so that a connection that is well is reported once. */
  let reported: string | null = null
  function report(lost: string | null): void {
    if (lost !== null || reported !== null) onConnectionChange?.(lost)
    reported = lost
  }

  /** Repeats an idempotent call while the server is unreachable or asks to come back later. */
  async function insist<T>(call: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const giveUpAt = performance.now() + giveUpAfterMs
    for (let attempt = 0; ; attempt++) {
      if (isClosed) throw new Error(CLOSED)
      try {
        const answer = await call()
        report(null)
        return answer
      } catch (error) {
        signal?.throwIfAborted()
        const failure = readFailure(error, base)
        const waitMs = Math.max(backoffMs(attempt), failure.retryAfterMs ?? 0)
        if (!failure.retryable || performance.now() + waitMs > giveUpAt) throw failure.error
        report(failure.error.message)
        await sleep(waitMs, signal)
      }
    }
  }

  /** Yields the events after `lastEventId` up to the terminal one, through any number of reconnects. */
  async function* follow(open: Open, { signal, lastEventId, beginWithinMs, submitAgain }: FollowOptions) {
    let fruitless = 0
    let giveUpAt = performance.now() + giveUpAfterMs
    for (;;) {
      if (isClosed) throw new Error(CLOSED)
      let waitMs = backoffMs(fruitless++)
      try {
        const subscription = {
          signal,
          lastEventId,
          beginWithinMs,
          giveUpAfterMs,
          url: base,
          onConnectionChange: report,
        }
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
        // The server has lost the archive. With the manifest at hand it can be submitted once more.
        if (submitAgain !== undefined && isNotFound(failure.error)) {
          await submitAgain()
          submitAgain = undefined
          lastEventId = null
          continue
        }
        // The archive may have been accepted even if it could not be watched.
        if (failure.retryable && beginWithinMs !== undefined) throw new NotBegunError()
        waitMs = Math.max(waitMs, failure.retryAfterMs ?? 0)
        if (!failure.retryable || performance.now() + waitMs > giveUpAt) throw failure.error
        report(failure.error.message)
      }
      await sleep(waitMs, signal)
    }
  }

  /** Like `follow`, from the beginning if there is no `lastEventId`. */
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
    // `accepted` is yielded before the socket is open, because a download can begin now. The watch starts before the
    // caller asks for the next event, because an archive that nobody watches is ended.
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
      // abort() ends a pending next(). return() ends a generator that is suspended at a yield.
      left.abort()
      await events.return(undefined)
    }
  }

  return {
    url: base,
    trpc,
    watchArchive,

    /** Submits the manifest, then watches. It may submit again, which the key makes harmless. */
    async *createArchive(input: CreateArchiveInput, options: WatchOptions = {}): AsyncGenerator<ArchiveEvent> {
      const { lastEventId: _, ...manifest } = input
      const { archiveKey } = input
      if (options.lastEventId == null && JSON.stringify(manifest).length <= MAX_SOCKET_CHARS) {
        try {
          const open: Open = (lastEventId, observer) =>
            lastEventId == null
              ? trpc.createArchive.subscribe(manifest, observer)
              : watching(archiveKey)(lastEventId, observer)
          // A subscription without a cursor submits the manifest itself.
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

    /** Returns what an archive would be. Nothing is created. */
    planArchive(input: PlanArchiveInput, { signal }: Pick<WatchOptions, 'signal'> = {}): Promise<ArchivePlan> {
      return insist(() => trpc.planArchive.query(input, { signal }), signal)
    },

    /** Ends all calls and watches under way. */
    async close(): Promise<void> {
      isClosed = true
      await socket.close()
    },
  }
}
