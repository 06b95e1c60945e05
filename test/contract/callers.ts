// The two ways to call a server, over a websocket and over HTTP with SSE. They use tRPC's own links and nothing of our clients.
import {
  createTRPCClient,
  createWSClient,
  httpLink,
  httpSubscriptionLink,
  splitLink,
  TRPCClientError,
  wsLink,
} from '@trpc/client'
import { EventSource } from 'undici'
import type { WatchArchiveInput } from '#contracts/archive.ts'
import { isTerminal } from '#contracts/events.ts'
import type { RefusalData } from '#contracts/failures.ts'
import type { AppRouter } from '#contracts/router.ts'
import { transformer as ours, PROTOCOL_HEADER, paths } from '#contracts/wire.ts'
import type { Told } from '../support/event-schemas.ts'

export type TransportName = 'websocket' | 'http'

export interface Caller extends AsyncDisposable {
  readonly trpc: ReturnType<typeof createTRPCClient<AppRouter>>
  watch(input: WatchArchiveInput): Watching
}

export interface Watching {
  readonly told: readonly Told[]
  /** Resolves to all events when the stream ends by itself. Rejects with the error that ended it otherwise. */
  readonly ended: Promise<readonly Told[]>
  leave(): void
}

/** `transformer` is ours, or plain superjson. */
export function call(name: TransportName, url: string, protocol = '1', transformer = ours): Caller {
  const params = { [PROTOCOL_HEADER]: protocol }
  const socket = createWSClient({
    url: url.replace(/^http/, 'ws') + paths.trpc,
    connectionParams: params,
    lazy: { enabled: true, closeMs: 0 },
  })
  const http = splitLink({
    condition: ({ type }) => type === 'subscription',
    // A browser has an EventSource of its own. In Node it comes from undici.
    true: httpSubscriptionLink({
      url: url + paths.trpc,
      transformer,
      connectionParams: params,
      EventSource: EventSource as never,
    }),
    false: httpLink({ url: url + paths.trpc, transformer, headers: params, methodOverride: 'POST' }),
  })
  const trpc = createTRPCClient<AppRouter>({
    links: [name === 'websocket' ? wsLink({ client: socket, transformer }) : http],
  })
  return {
    trpc,
    watch: (input) => follow((handlers) => trpc.watchArchive.subscribe(input, handlers)),
    [Symbol.asyncDispose]: () => socket.close(),
  }
}

/** Less than the time-out of a test, whose message would not say what was missing. */
const ENDS_WITHIN_MS = 25_000

interface Handlers {
  onData(data: { id: string; data: Told['event'] }): void
  onError(error: Error): void
  onComplete(): void
}

export function follow(
  subscribe: (handlers: Handlers) => { unsubscribe(): void },
  withinMs = ENDS_WITHIN_MS,
): Watching {
  const told: Told[] = []
  const { promise, resolve, reject } = Promise.withResolvers<readonly Told[]>()
  promise.catch(() => {})
  const late = () => reject(new Error(`no end within ${withinMs} ms; told: ${JSON.stringify(told.slice(-5))}`))
  const deadline = setTimeout(late, withinMs).unref()
  promise.finally(() => clearTimeout(deadline)).catch(() => {})
  const subscription = subscribe({
    onData({ id, data }) {
      told.push({ id, event: data })
    },
    onError: reject,
    onComplete() {
      const last = told.at(-1)
      if (last !== undefined && isTerminal(last.event)) resolve(told)
      else reject(new Error(`the stream ended after ${last?.event.type ?? 'nothing'}`))
    },
  })
  return { told, ended: promise, leave: () => subscription.unsubscribe() }
}

/** Returns the typed reason of a call that must be refused. */
export async function refusalOf(refused: Promise<unknown>): Promise<RefusalData & { httpStatus: number }> {
  const error = await refused.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (!(error instanceof TRPCClientError)) throw new Error('the call was not refused', { cause: error })
  const { data, message } = error as TRPCClientError<AppRouter>
  if (!data?.refusal) throw new Error(`no typed refusal: ${message}`, { cause: error })
  if (data.refusal.message !== message) throw new Error(`two messages: ${message} and ${data.refusal.message}`)
  return { ...data.refusal, httpStatus: data.httpStatus }
}
