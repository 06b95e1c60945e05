// Turns of the event loop, one to each who asks, so that thousands who come at once do not keep all others waiting.

export interface Turns {
  /** Resolves in a turn of the loop that no other has; at once if nobody waits. */
  next(key: string): Promise<void>
}

/** Of those that wait, one of each key goes before the second of any. */
export function createTurns(): Turns {
  /** In the order of their turn. */
  const waiting = new Map<string, (() => void)[]>()
  let isTaken = false

  function release(): void {
    const [next] = waiting
    if (next === undefined) {
      isTaken = false
      return
    }
    const [key, queue] = next
    const go = queue.shift()!
    waiting.delete(key)
    if (queue.length > 0) waiting.set(key, queue)
    setImmediate(release)
    go()
  }

  return {
    next(key) {
      if (!isTaken) {
        isTaken = true
        setImmediate(release)
        return Promise.resolve()
      }
      return new Promise((resolve) => {
        const queue = waiting.get(key)
        if (queue === undefined) waiting.set(key, [resolve])
        else queue.push(resolve)
      })
    },
  }
}
