// The code both clients share: links, reconnect, the two ways to submit. Browser-safe; the only file that imports
// @trpc/client.
import { createTRPCClient, createWSClient, httpLink, splitLink, TRPCClientError, wsLink } from '@trpc/client'
import type { ArchivePlan } from './api.ts'
import type { ArchiveKey, CreateArchiveInput, PlanArchiveInput } from './archive.ts'
import { type ArchiveEvent, isTerminal } from './events.ts'
import type { RefusalData } from './failures.ts'
import type { AppRouter } from './router.ts'
import { PROTOCOL_HEADER, paths, transformer } from './wire.ts'

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

/** The server refused the call; `refusal` is the typed reason. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError'
  readonly refusal: RefusalData

  constructor(refusal: RefusalData) {
    super(refusal.message)
    this.refusal = refusal
  }
}

/** The server cannot be reached, or what answers there is no sheaf. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError'
}

/** A new secret key of 192 random bits. */
export function newArchiveKey(): ArchiveKey {
  const bytes = crypto.getRandomValues(new Uint8Array(24))
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
}

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

  /** One subscription as an iterable. Progress is only ever the latest; everything else is kept in order. */
  async function* subscribe(open: Open, { signal, lastEventId, beginWithinMs }: FollowOptions) {
    const waiting: { id: string; event: ArchiveEvent }[] = []
    let hasBegun = beginWithinMs === undefined
    let ended = false
    let failure: unknown = null
    let wake = () => {}
    let lostTimer: ReturnType<typeof setTimeout> | undefined
    let isLost = false

    function fail(error: unknown) {
      failure = error
      ended = true
      wake()
    }
    const beginTimer = hasBegun ? undefined : setTimeout(() => fail(new NotBegunError()), beginWithinMs)

    const subscription = open(lastEventId, {
      onData({ id, data }) {
        hasBegun = true
        clearTimeout(beginTimer)
        tell(null)
        if (data.type === 'progress' && waiting.at(-1)?.event.type === 'progress') waiting.pop()
        waiting.push({ id, event: data })
        wake()
      },
      onError: fail,
      onComplete() {
        ended = true
        wake()
      },
      onConnectionStateChange({ state, error }) {
        if (state === 'pending') {
          clearTimeout(lostTimer)
          lostTimer = undefined
          if (isLost) tell(null)
          isLost = false
        } else if (error) {
          if (!hasBegun) return fail(new NotBegunError())
          isLost = true
          tell('connection lost')
          if (lostTimer !== undefined || giveUpAfterMs === Infinity) return
          lostTimer = setTimeout(() => fail(new UnreachableError(`no connection to ${base}`)), giveUpAfterMs)
        }
      },
    })
    const onAbort = () => wake()
    signal?.addEventListener('abort', onAbort)
    try {
      for (;;) {
        signal?.throwIfAborted()
        const next = waiting.shift()
        if (next !== undefined) yield next
        else if (failure !== null) throw failure
        else if (ended) return
        else await new Promise<void>((resolve) => (wake = resolve))
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      clearTimeout(beginTimer)
      clearTimeout(lostTimer)
      subscription.unsubscribe()
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
        for await (const { id, event } of subscribe(open, { signal, lastEventId, beginWithinMs })) {
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
      // The one ends a wait for the next event, the other what stands at one.
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

const CLOSED = 'this connection is closed'

type Manifest = Omit<CreateArchiveInput, 'lastEventId'>

interface Observer {
  onData(told: { id: string; data: ArchiveEvent }): void
  onError(error: unknown): void
  onComplete(): void
  onConnectionStateChange(change: { state: string; error?: unknown }): void
}

/** Subscribes to what comes after the event named. */
type Open = (lastEventId: string | null | undefined, observer: Observer) => { unsubscribe(): void }

interface FollowOptions extends WatchOptions {
  /** Without an event by then, or where the connection or the call fails before it for now, the end is a NotBegunError. */
  beginWithinMs?: number | undefined
  /** Called once at most, where the server does not know the archive (any more); then all is told from the beginning. */
  submitAgain?: (() => Promise<unknown>) | undefined
}

const isNotFound = (error: Error) => error instanceof RefusedError && error.refusal.code === 'NOT_FOUND'

/** A socket does not say what is wrong with it: an HTTP call does. */
class NotBegunError extends Error {
  override readonly name = 'NotBegunError'
}

/** Acceptance is the first fact of every archive. */
const ACCEPTED_ID = '1'
/**
 * A manifest up to this goes over the socket, where it takes one round trip less than an HTTP call. A larger one does not:
 * where it is too large for a server, that closes the socket, and after a lost connection it would be sent again.
 */
const MAX_SOCKET_CHARS = 64 * 1024
const BEGIN_WITHIN_MS = 5_000

/** 0.25 s doubling to 8 s, with jitter, so that a thousand clients do not come back at once. */
function backoffMs(attempt: number): number {
  return Math.min(250 * 2 ** attempt, 8_000) * (0.5 + Math.random() / 2)
}

interface CallFailure {
  error: Error
  retryable: boolean
  retryAfterMs: number | null
}

/** What a call of tRPC threw, as the errors of the contract, and whether the same call may be made again. */
export function readFailure(error: unknown, url: string): CallFailure {
  if (!(error instanceof TRPCClientError)) {
    const plain = error instanceof Error ? error : new Error(String(error))
    return { error: plain, retryable: false, retryAfterMs: null }
  }
  const { data, meta, message, cause } = error as TRPCClientError<AppRouter>
  if (data?.refusal) {
    const { retryable, retryAfterMs } = data.refusal
    return { error: new RefusedError(data.refusal), retryable, retryAfterMs }
  }
  if (data) return { error: new Error(`the server failed: ${message}`), retryable: false, retryAfterMs: null }
  const status = meta?.response instanceof Response ? meta.response.status : null
  const reason = ((cause as Error | undefined)?.cause as { code?: string } | undefined)?.code ?? message
  const text =
    status === null
      ? `no sheaf server answers at ${url} (${reason})`
      : `what answers at ${url} is no sheaf, or refuses this client (HTTP ${status})`
  return { error: new UnreachableError(text), retryable: status === null || status >= 500, retryAfterMs: null }
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
