// What end-to-end tests share: the origin and the servers of one test. They are closed in reverse order when it ends.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'vitest'
import { type ConnectionOptions, connect } from '#contracts/client.ts'
import { type Origin, startOrigin } from '../support/origin.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

export { completed, type Watched, watch } from '../support/watching.ts'

export interface World {
  readonly origin: Origin
  /** Closes the resource when the test ends. */
  use<T extends AsyncDisposable | Disposable>(resource: T): T
  defer(close: () => void | Promise<void>): void
  start(env?: Record<string, string>): Promise<TestServer>
  /** Connects our own client. */
  client(url: string, options?: Omit<ConnectionOptions, 'url'>): ReturnType<typeof connect>
}

/** Gives each test of a file its own world. */
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

/** Lists everything below the spool's folder. */
export function spooled({ dataDir }: TestServer): Promise<string[]> {
  const list = async () => {
    try {
      return (await readdir(join(dataDir, 'spool'), { recursive: true })).sort()
    } catch (error) {
      // A folder was removed while it was read, so the whole is read again.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  }
  return until(list, { what: 'a list of the spool' })
}
