// Counts bytes of memory that are held for others, per key and in all, and says no above the limit. A newcomer finds room.
import { leavesRoom } from './quota.ts'

export interface ByteBudget {
  readonly used: number
  /** Holds nothing as yet. */
  open(key: string): ByteAccount
}

/** Disposed, it holds nothing. */
export interface ByteAccount extends Disposable {
  readonly bytes: number
  /** From now on so many in all. False, and nothing changes, if there is no room; less can always be held. */
  hold(bytes: number): boolean
}

/** `leavesRoom` keeps some of it for others, whoever holds the rest. */
export function createByteBudget(inAll: number): ByteBudget {
  const byKey = new Map<string, number>()
  let used = 0
  return {
    get used() {
      return used
    },
    open(key) {
      let held = 0
      const hold = (bytes: number) => {
        const more = bytes - held
        if (more === 0) return true
        const own = byKey.get(key) ?? 0
        if (more > 0 && !leavesRoom(own, used, inAll, more)) return false
        used += more
        held = bytes
        if (own + more === 0) byKey.delete(key)
        else byKey.set(key, own + more)
        return true
      }
      return {
        get bytes() {
          return held
        },
        hold,
        [Symbol.dispose]: () => void hold(0),
      }
    },
  }
}
