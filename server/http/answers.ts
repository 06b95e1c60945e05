// Makes large answers one after the other on each connection, and counts them until they are taken.
import { setImmediate as breathe } from 'node:timers/promises'
import type { ArchiveApi } from '#contracts/api.ts'
import { Refusal } from '#contracts/failures.ts'
import { PAGE_BYTES } from '../archives/views/list-entries.ts'
import type { ByteAccount } from '../lib/byte-budget.ts'
import type { Turns } from '../lib/turns.ts'
import { UNCOUNTED_BYTES } from './ledger.ts'

/** Where the answers of one connection, or of one HTTP request, go. */
export interface Outlet {
  /** Of the client: answers of different ones take turns. */
  readonly key: string
  /** Any number of calls may come at once: one without room now is refused at once, as waiting costs more than an answer. */
  readonly isBatch: boolean
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
      // Before it is made: a client with too many answers must not cost their making.
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
    // The answer is on its way by then.
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
      // It grows with its manifest.
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
