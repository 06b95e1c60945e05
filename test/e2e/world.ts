// What the end-to-end tests share: an origin and servers of one test, closed in reverse when it is done.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'vitest'
import { type ConnectionOptions, connect } from '#contracts/client.ts'
import type { ArchiveEvent, CompleteEvent } from '#contracts/events.ts'
import { type Origin, startOrigin } from '../support/origin.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

export interface World {
  readonly origin: Origin
  /** Closes it when the test is done. */
  use<T extends AsyncDisposable | Disposable>(resource: T): T
  defer(close: () => void | Promise<void>): void
  start(env?: Record<string, string>): Promise<TestServer>
  /** Our own client. */
  client(url: string, options?: Omit<ConnectionOptions, 'url'>): ReturnType<typeof connect>
}

/** Each test of the file has its own. */
export function eachTestItsWorld(): World {
  let stack: AsyncDisposableStack
  let origin: Origin
  beforeEach(async () => {
    stack = new AsyncDisposableStack()
    origin = stack.use(await startOrigin())
  })
  afterEach(() => stack.disposeAsync())
  return {
    get origin() {
      return origin
    },
    use: (resource) => stack.use(resource),
    defer: (close) => stack.defer(close),
    start: async (env = {}) => stack.use(await startServer({ env })),
    client(url, options) {
      const connection = connect({ url, ...options })
      stack.defer(() => connection.close())
      return connection
    },
  }
}

export interface Watched {
  readonly told: readonly ArchiveEvent[]
  /** The terminal event. */
  readonly end: Promise<ArchiveEvent>
  /** Resolves to the first event of the type that passes. */
  first<T extends ArchiveEvent['type']>(
    type: T,
    passes?: (event: Extract<ArchiveEvent, { type: T }>) => boolean,
  ): Promise<Extract<ArchiveEvent, { type: T }>>
}

/** Watches in the background from now on. */
export function watch(events: AsyncIterable<ArchiveEvent>): Watched {
  const told: ArchiveEvent[] = []
  const end = (async () => {
    for await (const event of events) told.push(event)
    return told.at(-1)!
  })()
  end.catch(() => {})
  return {
    told,
    end,
    first: (type, passes = () => true) =>
      until(() => told.find((event) => event.type === type && passes(event as never)) as never, {
        what: `an event ${type}`,
      }),
  }
}

export async function completed(end: Promise<ArchiveEvent>): Promise<CompleteEvent> {
  const event = await end
  if (event.type !== 'complete') throw new Error(`ended as ${JSON.stringify(event)}`)
  return event
}

/** Everything below the spool's folder. */
export async function spooled({ dataDir }: TestServer): Promise<string[]> {
  return (await readdir(join(dataDir, 'spool'), { recursive: true })).sort()
}
