// Counts places in use, per key and in all, and refuses more than the limits. The fuller it is, the less a key may
// take.

export interface Quota {
  readonly used: number
  /** Takes a place until the result is disposed. Null if there is none. */
  take(key: string): Disposable | null
  /** Takes a place even beyond the limits, for something that is in use already. */
  hold(key: string): Disposable
}

export interface QuotaOptions {
  perKey: number
  inAll: number
}

/**
 * True if a key that holds `own` of the `used` places may take `amount` more of `inAll`. A key that holds none may
 * always take some while they are free. Any other key may hold at most twice what stays free. So the first key gets two
 * thirds, the next one two thirds of the rest, and so on. However long places are held, a new key finds one (dynamic
 * thresholds, Choudhury and Hahne 1998).
 */
export function leavesRoom(own: number, used: number, inAll: number, amount = 1): boolean {
  if (used + amount > inAll) return false
  return own === 0 || own + amount <= 2 * (inAll - used - amount)
}

export function createQuota({ perKey, inAll }: QuotaOptions): Quota {
  const byKey = new Map<string, number>()
  let used = 0

  function hold(key: string): Disposable {
    used++
    byKey.set(key, (byKey.get(key) ?? 0) + 1)
    let held = true
    return {
      [Symbol.dispose]() {
        if (!held) return
        held = false
        used--
        const left = byKey.get(key)! - 1
        if (left === 0) byKey.delete(key)
        else byKey.set(key, left)
      },
    }
  }

  return {
    get used() {
      return used
    },
    take(key) {
      const own = byKey.get(key) ?? 0
      return own < perKey && leavesRoom(own, used, inAll) ? hold(key) : null
    },
    hold,
  }
}
