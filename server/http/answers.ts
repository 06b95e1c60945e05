// Makes the large answers of a connection one at a time, and counts their bytes until the client has taken them.
import { setImmediate as breathe } from 'node:timers/promises'
import type { ArchiveApi } from '#contracts/api.ts'
import { Refusal } from '#contracts/failures.ts'
import { PAGE_BYTES } from '../archives/views/list-entries.ts'
import type { ByteAccount } from '../lib/byte-budget.ts'
import type { Turns } from '../lib/turns.ts'
import { UNCOUNTED_BYTES } from './ledger.ts'

/** The connection, or the HTTP request, that answers go to. */
export interface Outlet {
  /** The client's key: answers to different clients take turns. */
  readonly key: string
  /**
   * Any number of calls may arrive at once. A call that finds no room is then refused at once, because letting it wait
   * costs more than answering it.
   */
  readonly isBatch: boolean
  /** Holds the bytes of answers that were made and not yet taken. */
  readonly account: ByteAccount
  /** The most that `account` may hold. */
  readonly maxBytes: number
  /** Resolves once the next answer may be made. Rejects if nobody waits for it any more. */
  ready(): Promise<void>
  /** Resolves once the client has taken so much that the next answer may follow. */
  taken(): Promise<void>
}

/**
 * Returns the same API, but makes its large answers one at a time, so that a batch or a burst of calls lets others have
 * their turn. Each answer is counted. It is refused as BUSY if too much would wait for its client.
 */
export function boundAnswers(api: ArchiveApi, outlet: Outlet, turns: Turns): ArchiveApi {
  let last: Promise<unknown> = Promise.resolve()

  async function inTurn<T>(maxBytes: number, make: () => Promise<T>): Promise<T> {
    const { account } = outlet
    if (outlet.isBatch) {
      const held = account.bytes
      hold(held + maxBytes)
      account.hold(held)
    }
    const turn = last.then(async () => {
      await outlet.ready()
      await turns.next(outlet.key)
      // Counted before it is made: a client with too many answers must not make us work for them.
      hold(account.bytes + maxBytes)
      let bytes = 0
      try {
        const answer = await make()
        bytes = countedBytes(answer)
        return answer
      } finally {
        account.hold(Math.max(0, account.bytes - maxBytes + bytes))
      }
    })
    last = turn.then(settle, settle)
    return turn
  }

  async function settle(): Promise<void> {
    // After one turn of the loop the answer is on its way.
    await breathe()
    await outlet.taken()
  }

  function hold(bytes: number): void {
    if (bytes <= outlet.maxBytes && outlet.account.hold(bytes)) return
    throw new Refusal('BUSY', 'too many answers wait to be read')
  }

  return {
    ...api,
    listEntries: (...call) => inTurn(PAGE_BYTES, () => api.listEntries(...call)),
    async plan(...call) {
      const plan = await api.plan(...call)
      const bytes = countedBytes(plan)
      // A plan grows with its manifest.
      if (bytes > outlet.maxBytes) throw new Refusal('MANIFEST_TOO_LARGE', 'the answer would be too large')
      hold(outlet.account.bytes + bytes)
      settle().catch(() => {})
      return plan
    },
  }
}

function countedBytes(answer: unknown): number {
  const bytes = Buffer.byteLength(JSON.stringify(answer))
  return bytes > UNCOUNTED_BYTES ? bytes : 0
}
