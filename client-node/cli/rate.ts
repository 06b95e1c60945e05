// Bytes per second over the last few seconds. Pure: is given the time.

export interface RateMeter {
  /** `totalBytes` is what had come by then, not what came since; less than before means a new start. */
  add(atMs: number, totalBytes: number): void
  /** Null until there is enough to tell. */
  rate(nowMs: number): number | null
}

const WINDOW_MS = 4_000
const STEP_MS = 200

export function createRateMeter(): RateMeter {
  let samples: { atMs: number; totalBytes: number }[] = []
  let latest = { atMs: 0, totalBytes: 0 }
  return {
    add(atMs, totalBytes) {
      if (totalBytes < latest.totalBytes) samples = []
      latest = { atMs, totalBytes }
      const last = samples.at(-1)
      if (last === undefined || atMs - last.atMs >= STEP_MS) samples.push(latest)
    },
    rate(nowMs) {
      if (samples.length > 0 && nowMs - latest.atMs > WINDOW_MS) return 0
      while (samples.length > 1 && nowMs - samples[0]!.atMs > WINDOW_MS) samples.shift()
      const first = samples[0]
      if (first === undefined || nowMs - first.atMs < STEP_MS) return null
      return ((latest.totalBytes - first.totalBytes) / (nowMs - first.atMs)) * 1000
    },
  }
}
