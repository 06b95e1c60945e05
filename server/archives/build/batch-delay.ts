// Waits a moment before each write, so that entries which arrive together share one write and one commit. Writes nothing.
// Without it W2 takes 1.1 times the CPU time (`npm run bench -- W2 --rounds 7`).

export interface BatchDelay {
  /** Resolves in a later turn of the event loop, as soon as `isEnough` says so, or after `MAX_MS`. */
  wait(): Promise<void>
  /** The caller calls this when `isEnough` may have become true. */
  look(): void
}

/** Too short to notice, and long enough to gather hundreds of small entries at full speed. */
const MAX_MS = 10

export function createBatchDelay(isEnough: () => boolean): BatchDelay {
  let end: (() => void) | null = null
  return {
    async wait() {
      await new Promise((resolve) => setImmediate(resolve))
      if (isEnough()) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, MAX_MS)
        end = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      end = null
    },
    look() {
      if (end !== null && isEnough()) end()
    },
  }
}
