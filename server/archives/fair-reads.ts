// Lets long reads of the journal take turns: one in a turn of the loop, and one archive after the other.
import type { Journal } from '../ports/journal.ts'

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

/** The same journal. Thousands who ask at once for what is parsed in a millisecond each do not keep all others waiting. */
export function withFairReads<J extends Pick<Journal, 'failures' | 'entryFacts'>>(journal: J): J {
  const turns = createTurns()
  const failures: Journal['failures'] = async (archiveId, ...rest) => {
    await turns.next(archiveId)
    return journal.failures(archiveId, ...rest)
  }
  const entryFacts: Journal['entryFacts'] = async (archiveId, ...rest) => {
    await turns.next(archiveId)
    return journal.entryFacts(archiveId, ...rest)
  }
  return Object.assign(Object.create(journal), { failures, entryFacts }) as J
}
