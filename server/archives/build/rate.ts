// Measures bytes per second over the last few seconds, from total counts. Has no clock of its own.

const WINDOW_MS = 3_000

export interface Rate {
  sample(nowMs: number, bytes: number): void
  readonly bytesPerSecond: number
  /** How many samples are kept, which must stay bounded. */
  readonly sampleCount: number
}

export function createRate(): Rate {
  const samples: { nowMs: number; bytes: number }[] = []
  return {
    get sampleCount() {
      return samples.length
    },
    sample(nowMs, bytes) {
      samples.push({ nowMs, bytes })
      while (samples.length > 2 && nowMs - samples[1]!.nowMs >= WINDOW_MS) samples.shift()
    },
    get bytesPerSecond() {
      const [first, last] = [samples[0], samples.at(-1)]
      if (first === undefined || last === undefined || last.nowMs <= first.nowMs) return 0
      return Math.max(0, Math.round(((last.bytes - first.bytes) * 1000) / (last.nowMs - first.nowMs)))
    },
  }
}
