// What one client, and all together, may hold of this server: websockets, subscriptions, downloads.
import type { ArchiveApi, NumberedEvent } from '#contracts/api.ts'
import { Refusal } from '#contracts/failures.ts'
import type { Quota } from '../lib/quota.ts'

export interface HttpLimits {
  /** By the key of a client. */
  readonly websockets: Quota
  readonly subscriptions: Quota
  readonly downloads: Quota
  readonly maxSubscriptionsPerSocket: number
  /** The peer is our own proxy, which says who the client is. */
  readonly trustProxy: boolean
}

/** The same API, but each watch takes a place of every quota under its key, and is refused as BUSY if there is none. */
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
