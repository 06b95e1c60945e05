// A wake-up that loses none: a waiter names the version it has seen and is woken by any later one.

export interface Wake {
  /** Grows by one with each `notify`. */
  readonly version: number
  /** Wakes all that wait; where they are many, some at a time, so that whatever else there is to do comes in between. */
  notify(): void
  /** Resolves once the version is past `seen` (at once, if it already is), or when `signal` aborts. */
  passed(seen: number, signal: AbortSignal): Promise<void>
}

/** What a thousand watchers do in one turn of the loop, nobody else can do in that time. */
const WOKEN_A_TURN = 32

export function createWake(): Wake {
  let version = 0
  /** And what they have seen: whoever came earlier comes first, so those to be woken are the first ones. */
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
