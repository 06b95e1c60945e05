// Limits how many websockets, subscriptions and downloads one client, and all clients together, may hold.
import type { ArchiveApi, NumberedEvent } from '#contracts/api.ts'
import { Refusal } from '#contracts/failures.ts'
import type { Quota } from '../lib/quota.ts'

export interface HttpLimits {
  /** Each quota counts by the key of a client. */
  readonly websockets: Quota
  readonly subscriptions: Quota
  readonly downloads: Quota
  readonly maxSubscriptionsPerSocket: number
  /** True if the peer is our own proxy, which reports who the client is. */
  readonly trustProxy: boolean
}

/** Returns the same API, but each watch takes a place in every quota. It is refused as BUSY if one is full. */
export function limitWatches(api: ArchiveApi, quotas: readonly { quota: Quota; key: string }[]): ArchiveApi {
  async function* watch(...call: Parameters<ArchiveApi['watch']>): AsyncGenerator<NumberedEvent> {
    using places = new DisposableStack()
    for (const { quota, key } of quotas) {
      const place = quota.take(key)
      if (place === null) throw new Refusal('BUSY', 'too many subscriptions')
      places.use(place)
    }
    yield* api.watch(...call)
  }
  return { ...api, watch }
}
