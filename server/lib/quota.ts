// Counts what is in use, per key and in all, and says no above the limits. The fuller it is, the less each may take.

export interface Quota {
  readonly used: number
  /** A place until the result is disposed; null if there is none. */
  take(key: string): Disposable | null
  /** A place until the result is disposed, also beyond the limits: for what is in use already. */
  hold(key: string): Disposable
}

export interface QuotaOptions {
  perKey: number
  inAll: number
}

/**
 * Whether somebody who holds `own` of `used` places may take `amount` more of `inAll`: always the first, then at most twice
 * what stays free. Whoever comes alone gets two thirds, the next one two thirds of the rest, and so on: however many places
 * are held for however long, a newcomer finds one (dynamic thresholds, Choudhury and Hahne 1998).
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
