// The deployment on which the contract is tested, and helpers for these tests.
import { connect } from '#contracts/client.ts'
import type { Origin } from '../support/origin.ts'

export interface Deployment {
  /** Includes the path prefix, without a slash at the end. */
  readonly url: string
  /** The deployment must be allowed to fetch from this origin. */
  readonly origin: Origin
}

/** A path that no other test of this run uses, because an origin chooses its answer by path. */
export function uniquePath(origin: Origin, prefix = 'file'): string {
  return `/${prefix}-${origin.requests.length}-${Math.random().toString(36).slice(2)}`
}

/** Returns our own client. It is closed at the end of the block. */
export function client(url: string) {
  const connection = connect({ url })
  return { ...connection, [Symbol.asyncDispose]: () => connection.close() }
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
