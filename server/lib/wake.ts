// A wake-up that loses none: a waiter names the version it has seen and is woken by any later one.

export interface Wake {
  /** Grows by one with each `notify`. */
  readonly version: number
  notify(): void
  /** Resolves once the version is past `seen` (at once, if it already is), or when `signal` aborts. */
  passed(seen: number, signal: AbortSignal): Promise<void>
}

export function createWake(): Wake {
  let version = 0
  const waiters = new Set<() => void>()
  return {
    get version() {
      return version
    },
    notify() {
      version++
      const woken = [...waiters]
      waiters.clear()
      for (const wake of woken) wake()
    },
    passed(seen, signal) {
      if (version > seen || signal.aborted) return Promise.resolve()
      return new Promise((resolve) => {
        const wake = () => {
          waiters.delete(wake)
          signal.removeEventListener('abort', wake)
          resolve()
        }
        waiters.add(wake)
        signal.addEventListener('abort', wake)
      })
    },
  }
}
