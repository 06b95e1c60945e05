// Counts what is in use, per key and in all, and says no above the limits.

export interface Quota {
  readonly used: number
  /** A place until the result is disposed; null where there is none. */
  take(key: string): Disposable | null
}

export interface QuotaOptions {
  perKey: number
  inAll: number
}

export function createQuota({ perKey, inAll }: QuotaOptions): Quota {
  const byKey = new Map<string, number>()
  let used = 0
  return {
    get used() {
      return used
    },
    take(key) {
      const own = byKey.get(key) ?? 0
      if (used >= inAll || own >= perKey) return null
      used++
      byKey.set(key, own + 1)
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
    },
  }
}
