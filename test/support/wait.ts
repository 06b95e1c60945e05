// Waits until something becomes true, but never without a deadline.
import { setTimeout as sleep } from 'node:timers/promises'

type Falsy = false | 0 | 0n | '' | null | undefined

export interface UntilOptions {
  /** @default 10_000 */
  timeoutMs?: number
  /** @default 20 */
  everyMs?: number
  /** Names what is waited for. The error contains it. */
  what: string
}

/** Returns the first truthy result of `check`. Throws what `check` throws, and when the time is over, even if `check` hangs. */
export async function until<T>(
  check: () => T | Promise<T>,
  { timeoutMs = 10_000, everyMs = 20, what }: UntilOptions,
): Promise<Exclude<T, Falsy>> {
  const over = new AbortController()
  const deadline = sleep(timeoutMs, undefined, { signal: over.signal }).then(() => {
    throw new Error(`waited ${timeoutMs} ms in vain for ${what}`)
  })
  // The abort below rejects it too, when nobody awaits it any more.
  deadline.catch(() => {})
  try {
    for (;;) {
      const result = await Promise.race([check(), deadline])
      if (result) return result as Exclude<T, Falsy>
      await Promise.race([sleep(everyMs), deadline])
    }
  } finally {
    over.abort()
  }
}
