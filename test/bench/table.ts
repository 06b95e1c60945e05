// Turns samples into the figures of a table: medians, ratios within a round, targets. It is pure.
import { allEntries, payloadBytes, type Target, type Workload } from './workloads.ts'

/** One run of one peer. Times count from the moment when the archives were asked for. */
export interface Sample {
  /** Time to the last byte of the last archive. */
  readonly wallMs: number
  readonly cpuMs: number
  /** Null if there was no process to measure. */
  readonly peakRssBytes: number | null
  /** Time to the first byte of the body, for each archive. Empty if the peer makes no archive. */
  readonly firstByteMs: readonly number[]
  /** Time to the last byte, for each archive. */
  readonly doneMs: readonly number[]
}

/** One sample for each round. Null if the peer did not run or failed. */
export type Samples = readonly (Sample | null)[]

export interface Figures {
  readonly count: number
  readonly wallMs: { readonly median: number; readonly min: number; readonly max: number }
  readonly cpuSecondsPerGb: number
  readonly cpuMicrosPerEntry: number
  readonly peakRssMb: number | null
  /** Null if the peer makes no archive. */
  readonly firstByteMs: number | null
  readonly slowestFirstByteMs: number | null
  /** The time of the slowest archive divided by that of the median one. */
  readonly spread: number
}

export interface Verdict {
  readonly target: Target
  /** Null if the figure is missing. */
  readonly value: number | null
  readonly reached: boolean | null
}

export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Divides our wall time by the other's, for each round in which both ran. */
export function pairedRatios(own: Samples, other: Samples): number[] {
  return own.flatMap((sample, round) => {
    const peer = other[round]
    return sample && peer ? [sample.wallMs / peer.wallMs] : []
  })
}

/** Returns null if the peer never ran. */
export function figuresOf(workload: Workload, samples: Samples): Figures | null {
  const ran = samples.filter((sample) => sample !== null)
  if (ran.length === 0) return null
  const medianOf = (figure: (sample: Sample) => number) => median(ran.map(figure))
  const walls = ran.map(({ wallMs }) => wallMs)
  const servesArchives = ran.every(({ firstByteMs }) => firstByteMs.length > 0)
  const peaks = ran.flatMap(({ peakRssBytes }) => peakRssBytes ?? [])
  return {
    count: ran.length,
    wallMs: { median: median(walls), min: Math.min(...walls), max: Math.max(...walls) },
    cpuSecondsPerGb: medianOf(({ cpuMs }) => cpuMs / 1e3 / (payloadBytes(workload) / 1e9)),
    cpuMicrosPerEntry: medianOf(({ cpuMs }) => (cpuMs * 1e3) / allEntries(workload)),
    peakRssMb: peaks.length === 0 ? null : median(peaks) / 1e6,
    firstByteMs: servesArchives ? medianOf(({ firstByteMs }) => median(firstByteMs)) : null,
    slowestFirstByteMs: servesArchives ? medianOf(({ firstByteMs }) => Math.max(...firstByteMs)) : null,
    spread: medianOf(({ doneMs }) => Math.max(...doneMs) / median(doneMs)),
  }
}

/** Judges each target of a workload. `samples` has the rounds of each peer, by name. */
export function judge(workload: Workload, samples: ReadonlyMap<string, Samples>): Verdict[] {
  const own = samples.get('sheaf') ?? []
  const figures = figuresOf(workload, own)
  return workload.targets.map((target) => {
    const value = figureFor(target, figures, (peer) => median(pairedRatios(own, samples.get(peer) ?? [])))
    const known = value === null || Number.isNaN(value) ? null : value
    return { target, value: known, reached: known === null ? null : known <= target.most }
  })
}

function figureFor(target: Target, figures: Figures | null, ratioTo: (peer: string) => number): number | null {
  if (target.of === 'wall') return ratioTo(target.against)
  return figures === null ? null : figures[target.of]
}
