// Wake-ups that are never missed: a waiter names the version that it has seen, and any later version wakes it.

export interface Wake {
  /** Grows by one with each `notify`. */
  readonly version: number
  /** Wakes all waiters. Many are woken over several turns of the loop, so that other work comes in between. */
  notify(): void
  /** Resolves once the version is past `seen`, at once if it already is. It also resolves when `signal` aborts. */
  passed(seen: number, signal: AbortSignal): Promise<void>
}

/** At most this many waiters wake in one turn of the loop. A thousand at once would block everything else meanwhile. */
const WOKEN_A_TURN = 32

export function createWake(): Wake {
  let version = 0
  /** Each waiter with the version it has seen. They are in the order they came, so those to be woken come first. */
  const waiters = new Map<() => void, number>()
  let turn: NodeJS.Immediate | null = null

  function wakeSome(): void {
    turn = null
    let woken = 0
    for (const [wake, seen] of waiters) {
      if (seen === version) return
      if (woken++ === WOKEN_A_TURN) {
        turn = setImmediate(wakeSome)
        return
      }
      wake()
    }
  }

  return {
    get version() {
      return version
    },
    notify() {
      version++
      if (turn === null) wakeSome()
    },
    passed(seen, signal) {
      if (version > seen || signal.aborted) return Promise.resolve()
      return new Promise((resolve) => {
        const wake = () => {
          waiters.delete(wake)
          signal.removeEventListener('abort', wake)
          resolve()
        }
        waiters.set(wake, seen)
        signal.addEventListener('abort', wake)
      })
    },
  }
}
