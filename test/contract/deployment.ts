// The deployment that the contract is asked of, and what its tests share.
import { connect } from '#contracts/client.ts'
import type { Origin } from '../support/origin.ts'

export interface Deployment {
  /** With its path prefix, without a slash at the end. */
  readonly url: string
  /** The deployment must be allowed to fetch from it. */
  readonly origin: Origin
}

/** Unlike any other of this run, as an origin's answers are by path. */
export function uniquePath(origin: Origin, prefix = 'file'): string {
  return `/${prefix}-${origin.requests.length}-${Math.random().toString(36).slice(2)}`
}

/** Our own client, closed at the end of the block. */
export function client(url: string) {
  const connection = connect({ url })
  return { ...connection, [Symbol.asyncDispose]: () => connection.close() }
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
