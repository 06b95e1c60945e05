// Turns of the event loop, a few in each, so that thousands who come at once do not keep all others waiting.

export interface Turns {
  /** Takes one of those that are left in this turn of the loop; nobody waits while there is one. */
  take(): boolean
  /** Resolves with one that is had: at once if there is one to take. */
  next(key: string): Promise<void>
}

/** So many in a turn of the loop. Of those that wait, one of each key goes before the second of any. */
export function createTurns(atATime = 1): Turns {
  /** In the order of their turn. */
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
