// Counts bytes of memory that are held, per key and in all, and refuses more than the limit. A new key finds room.
import { leavesRoom } from './quota.ts'

export interface ByteBudget {
  readonly used: number
  /** Opens an account that holds nothing yet. */
  open(key: string): ByteAccount
}

/** Disposing an account gives back everything that it holds. */
export interface ByteAccount extends Disposable {
  readonly bytes: number
  /** Sets what the account holds. If there is no room, it returns false and changes nothing. Less always fits. */
  hold(bytes: number): boolean
}

/** `leavesRoom` keeps a part of the budget for other keys. */
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
