// Waiting for something to become true, never without an end.
import { setTimeout as sleep } from 'node:timers/promises'

type Falsy = false | 0 | 0n | '' | null | undefined

export interface UntilOptions {
  /** @default 10_000 */
  timeoutMs?: number
  /** @default 20 */
  everyMs?: number
  /** What is waited for; the error says it. */
  what: string
}

/** The first truthy result of `check`. What `check` throws is thrown on; one that hangs counts against the time-out. */
export async function until<T>(
  check: () => T | Promise<T>,
  { timeoutMs = 10_000, everyMs = 20, what }: UntilOptions,
): Promise<Exclude<T, Falsy>> {
  const over = new AbortController()
  const deadline = sleep(timeoutMs, undefined, { signal: over.signal }).then(() => {
    throw new Error(`waited ${timeoutMs} ms in vain for ${what}`)
  })
  // It also ends by the abort below, when nobody listens any more.
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
