// Measures bytes per second over the last few seconds. Pure: the caller passes the time.

export interface RateMeter {
  /** `totalBytes` is the count so far, not the increase. If it falls, the download has started over. */
  add(atMs: number, totalBytes: number): void
  /** Null until the samples span enough time. */
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
