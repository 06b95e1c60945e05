// Origins that take only so much, and a client that asks them by an `OriginPace`, all in virtual time: hours pass at once.
import { OriginPace, type OriginPaceOptions } from '../../server/fetch/origins/pace.ts'

/** Answers a request that comes at `nowMs`: how long after, and if it is refused, for how long. */
export type PacedOrigin = (nowMs: number, after: (ms: number, call: () => void) => void) => PacedAnswer

export interface PacedAnswer {
  readonly afterMs: number
  readonly refused: boolean
  /** What Retry-After says of a refusal. */
  readonly waitMs: number | null
}

const granted = (afterMs: number): PacedAnswer => ({ afterMs, refused: false, waitMs: null })
const refused = (waitMs: number | null): PacedAnswer => ({ afterMs: 2, refused: true, waitMs })

/** So many requests in each window. Retry-After is what is left of the window, or a fixed time. */
export function windowed(max: number, windowMs: number, waitMs: number | 'true' | null): PacedOrigin {
  let startMs = Number.NEGATIVE_INFINITY
  let count = 0
  return (nowMs) => {
    if (nowMs - startMs >= windowMs) [startMs, count] = [nowMs, 0]
    return ++count <= max ? granted(2) : refused(waitMs === 'true' ? startMs + windowMs - nowMs : waitMs)
  }
}

/** A token bucket, as nginx's limit_req has it. */
export function bucket(perSecond: number, burst: number, waitMs: number | null): PacedOrigin {
  let tokens = burst
  let lastMs = 0
  return (nowMs) => {
    tokens = Math.min(burst, tokens + ((nowMs - lastMs) * perSecond) / 1_000)
    lastMs = nowMs
    if (tokens < 1) return refused(waitMs)
    tokens--
    return granted(2)
  }
}

/** So many requests at a time, each of which takes so long. */
export function concurrent(max: number, eachMs: number, waitMs: number | null = null): PacedOrigin {
  let active = 0
  return (_, after) => {
    if (active >= max) return refused(waitMs)
    active++
    after(eachMs, () => active--)
    return granted(eachMs)
  }
}

/** One after the other. */
export function serial(eachMs: number): PacedOrigin {
  let freeMs = 0
  return (nowMs) => {
    freeMs = Math.max(freeMs, nowMs) + eachMs
    return granted(freeMs - nowMs)
  }
}

/** Answers nobody any more once it has refused so often. */
export function banning(origin: PacedOrigin, afterRefusals: number): PacedOrigin {
  let refusals = 0
  return (nowMs, after) => {
    if (refusals >= afterRefusals) return refused(null)
    const answer = origin(nowMs, after)
    if (answer.refused) refusals++
    return answer
  }
}

export interface PacedRun {
  readonly done: number
  readonly refused: number
  readonly tookMs: number
  readonly maxActive: number
  /** When each request began. */
  readonly startsMs: readonly number[]
}

/** Asks for so many files, those that were refused first. */
export function ask(
  files: number,
  origin: PacedOrigin,
  { maxFetches = 32, options = {} as OriginPaceOptions, forMs = 3_600_000 } = {},
): PacedRun {
  const pace = new OriginPace({ random: () => 0.5, ...options })
  const waiting = Array.from({ length: files }, () => ({}))
  const events: { atMs: number; call: () => void }[] = []
  const startsMs: number[] = []
  let [nowMs, active, maxActive, refusals, done] = [0, 0, 0, 0, 0]
  let woken = Number.POSITIVE_INFINITY

  function at(atMs: number, call: () => void): void {
    const index = events.findLastIndex((event) => event.atMs <= atMs)
    events.splice(index + 1, 0, { atMs, call })
  }

  function start(): void {
    while (waiting.length > 0 && active < maxFetches) {
      const delayMs = pace.delayMs(nowMs)
      if (delayMs > 0) return delayMs < Number.POSITIVE_INFINITY ? wake(nowMs + delayMs) : undefined
      request(waiting.shift()!)
    }
  }

  function wake(atMs: number): void {
    if (atMs >= woken) return
    woken = atMs
    at(atMs, () => {
      woken = Number.POSITIVE_INFINITY
      start()
    })
  }

  function request(by: object): void {
    const startedMs = nowMs
    maxActive = Math.max(maxActive, ++active)
    startsMs.push(nowMs)
    pace.started(nowMs)
    pace.sent(nowMs)
    const answer = origin(nowMs, (ms, call) => at(nowMs + ms, call))
    at(nowMs + answer.afterMs, () => {
      pace.answered()
      if (answer.refused) {
        refusals++
        waiting.unshift(by)
        pace.refused({ startedMs, nowMs, waitMs: answer.waitMs, by })
      } else {
        done++
        pace.served({ startedMs, nowMs, answerMs: nowMs - startedMs })
      }
      pace.ended()
      active--
      start()
    })
  }

  start()
  while (events.length > 0 && done < files && nowMs < forMs) {
    const { atMs, call } = events.shift()!
    nowMs = atMs
    call()
  }
  return { done, refused: refusals, tookMs: nowMs, maxActive, startsMs }
}
