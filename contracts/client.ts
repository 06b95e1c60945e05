// The code both clients share: links, reconnect, submit-then-watch. Browser-safe; the only file that imports @trpc/client.
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

  /** Repeats an idempotent call while the server is unreachable or asks to come back later. */
  async function insist<T>(call: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const giveUpAt = performance.now() + giveUpAfterMs
    for (let attempt = 0; ; attempt++) {
      try {
        const answer = await call()
        if (attempt > 0) onConnectionChange?.(null)
        return answer
      } catch (error) {
        signal?.throwIfAborted()
        const failure = readFailure(error, base)
        const waitMs = Math.max(backoffMs(attempt), failure.retryAfterMs ?? 0)
        if (!failure.retryable || performance.now() + waitMs > giveUpAt) throw failure.error
        onConnectionChange?.(failure.error.message)
        await sleep(waitMs, signal)
      }
    }
  }

  /** One subscription as an iterable. Progress is only ever the latest; everything else is kept in order. */
  async function* subscribe(archiveKey: ArchiveKey, { signal, lastEventId }: WatchOptions) {
    const waiting: { id: string; event: ArchiveEvent }[] = []
    let ended = false
    let failure: unknown = null
    let wake = () => {}
    let lostTimer: ReturnType<typeof setTimeout> | undefined

    const subscription = trpc.watchArchive.subscribe(
      { archiveKey, lastEventId },
      {
        onData({ id, data }) {
          if (data.type === 'progress' && waiting.at(-1)?.event.type === 'progress') waiting.pop()
          waiting.push({ id, event: data })
          wake()
        },
        onError(error) {
          failure = error
          ended = true
          wake()
        },
        onComplete() {
          ended = true
          wake()
        },
        onConnectionStateChange({ state, error }) {
          if (state === 'pending') {
            clearTimeout(lostTimer)
            lostTimer = undefined
            onConnectionChange?.(null)
          } else if (error) {
            onConnectionChange?.('connection lost')
            if (lostTimer !== undefined || giveUpAfterMs === Infinity) return
            lostTimer = setTimeout(() => {
              failure = new UnreachableError(`no connection to ${base}`)
              ended = true
              wake()
            }, giveUpAfterMs)
          }
        },
      },
    )
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
      clearTimeout(lostTimer)
      subscription.unsubscribe()
    }
  }

  /** Events from the beginning or after `lastEventId`, through any number of reconnects, until the terminal one. */
  async function* watchArchive(archiveKey: ArchiveKey, options: WatchOptions = {}): AsyncGenerator<ArchiveEvent> {
    let { lastEventId } = options
    const { signal } = options
    let fruitless = 0
    let giveUpAt = performance.now() + giveUpAfterMs
    for (;;) {
      let waitMs = backoffMs(fruitless++)
      try {
        for await (const { id, event } of subscribe(archiveKey, { signal, lastEventId })) {
          lastEventId = id
          fruitless = 0
          giveUpAt = performance.now() + giveUpAfterMs
          yield event
          if (isTerminal(event)) return
        }
      } catch (error) {
        signal?.throwIfAborted()
        const failure = readFailure(error, base)
        waitMs = Math.max(waitMs, failure.retryAfterMs ?? 0)
        if (!failure.retryable || performance.now() + waitMs > giveUpAt) throw failure.error
        onConnectionChange?.(failure.error.message)
      }
      await sleep(waitMs, signal)
    }
  }

  return {
    url: base,
    trpc,
    watchArchive,

    /** Submits the manifest (again, if need be: the key makes that harmless), then watches. */
    async *createArchive(input: CreateArchiveInput, options: WatchOptions = {}): AsyncGenerator<ArchiveEvent> {
      const { lastEventId: _, ...manifest } = input
      const { signal } = options
      const accepted = await insist(() => trpc.submitArchive.mutate(manifest, { signal }), signal)
      if (options.lastEventId != null) return yield* watchArchive(input.archiveKey, options)
      // Told at once, not when the socket is open: a download can begin now. But watched already, however long the
      // caller takes: an archive that nobody watches is wound down.
      const left = new AbortController()
      const either = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal])
      const events = watchArchive(input.archiveKey, { signal: either, lastEventId: ACCEPTED_ID })
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
    },

    async cancelArchive(archiveKey: ArchiveKey): Promise<boolean> {
      return (await insist(() => trpc.cancelArchive.mutate({ archiveKey }), undefined)).cancelled
    },

    /** What an archive would be; nothing is made. */
    planArchive(input: PlanArchiveInput, { signal }: Pick<WatchOptions, 'signal'> = {}): Promise<ArchivePlan> {
      return insist(() => trpc.planArchive.query(input, { signal }), signal)
    },

    async close(): Promise<void> {
      await socket.close()
    },
  }
}

/** Acceptance is the first fact of every archive. */
const ACCEPTED_ID = '1'

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
