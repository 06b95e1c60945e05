// The moment in which what arrives together is gathered into one write: each write and each commit has a price of its own.

export interface BatchDelay {
  /** Resolves in a later turn of the loop: as soon as it is enough, or after some milliseconds. */
  wait(): Promise<void>
  /** To be called when it may have become enough. */
  look(): void
}

/** Nobody notices so much; at full speed, it is what makes batches of hundreds of small entries. */
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
