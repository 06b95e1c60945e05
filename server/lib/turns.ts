// Spreads work over turns of the event loop, so that thousands of callers at once do not make all others wait.

export interface Turns {
  /** Takes a place in this turn of the loop; false if none is left. While a place is left, no caller waits. */
  take(): boolean
  /** Resolves once the caller has a place; at once if one is left in this turn. */
  next(key: string): Promise<void>
}

/** Gives out `atATime` places in each turn of the loop. One waiter of each key goes before a second one of any key. */
export function createTurns(atATime = 1): Turns {
  /** Waiters by key, in the order of the keys' next turn. */
  const waiting = new Map<string, (() => void)[]>()
  let taken = 0

  function renew(): void {
    taken = 0
    for (const [key, queue] of waiting) {
      if (!take()) break
      const go = queue.shift()!
      waiting.delete(key)
      if (queue.length > 0) waiting.set(key, queue)
      go()
    }
  }

  function take(): boolean {
    if (taken === atATime) return false
    if (taken++ === 0) setImmediate(renew)
    return true
  }

  return {
    take,
    next(key) {
      if (take()) return Promise.resolve()
      return new Promise((resolve) => {
        const queue = waiting.get(key)
        if (queue === undefined) waiting.set(key, [resolve])
        else queue.push(resolve)
      })
    },
  }
}
