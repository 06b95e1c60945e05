// Makes large answers one after the other on each connection, and counts them until they are taken.
import { setImmediate as breathe } from 'node:timers/promises'
import type { ArchiveApi } from '#contracts/api.ts'
import { Refusal } from '#contracts/failures.ts'
import type { ByteAccount } from '../lib/byte-budget.ts'
import { UNCOUNTED_BYTES } from './ledger.ts'

/** Where the answers of one connection, or of one HTTP request, go. */
export interface Outlet {
  /** Holds what was made and not taken. */
  readonly account: ByteAccount
  /** Of what it may hold. */
  readonly maxBytes: number
  /** Resolves once the next answer may be made; rejects once nobody waits for one. */
  ready(): Promise<void>
  /** Resolves once what was made has been taken, as far as the next answer has to wait for that. */
  taken(): Promise<void>
}

/**
 * The same API. Of its large answers one is made at a time, so that a batch or a burst of calls lets others have their
 * turn, and each is counted; beyond what may wait for its client it is refused as BUSY.
 */
export function boundAnswers(api: ArchiveApi, outlet: Outlet): ArchiveApi {
  let last: Promise<unknown> = Promise.resolve()

  function inTurn<T>(make: () => Promise<T>): Promise<T> {
    const turn = last.then(async () => {
      await outlet.ready()
      return count(await make())
    })
    last = turn.then(settle, settle)
    return turn
  }

  async function settle(): Promise<void> {
    // The answer is on its way by then.
    await breathe()
    await outlet.taken()
  }

  function count<T>(answer: T): T {
    const bytes = Buffer.byteLength(JSON.stringify(answer))
    if (bytes <= UNCOUNTED_BYTES) return answer
    const { account, maxBytes } = outlet
    // Pages are far smaller: only a plan grows with its manifest.
    if (bytes > maxBytes) throw new Refusal('MANIFEST_TOO_LARGE', 'the answer would be too large')
    const all = account.bytes + bytes
    if (all > maxBytes || !account.hold(all)) throw new Refusal('BUSY', 'too many answers wait to be read')
    return answer
  }

  return {
    ...api,
    listEntries: (...call) => inTurn(() => api.listEntries(...call)),
    async plan(...call) {
      const plan = count(await api.plan(...call))
      settle().catch(() => {})
      return plan
    },
  }
}
