// From samples to the figures of a table: medians, ratios round by round, targets. Pure.
import { allEntries, payloadBytes, type Target, type Workload } from './workloads.ts'

/** One run of one peer. Times are from the moment the archive was asked for. */
export interface Sample {
  /** To the last byte of the last archive. */
  readonly wallMs: number
  readonly cpuMs: number
  /** Null if there is no process to ask. */
  readonly peakRssBytes: number | null
  /** To the first byte of the body, one for each archive; none where there is no archive. */
  readonly firstByteMs: readonly number[]
  /** To the last byte, one for each archive. */
  readonly doneMs: readonly number[]
}

/** By round; null if the peer did not run, or failed. */
export type Samples = readonly (Sample | null)[]

export interface Figures {
  readonly count: number
  readonly wallMs: { readonly median: number; readonly min: number; readonly max: number }
  readonly cpuSecondsPerGb: number
  readonly cpuMicrosPerEntry: number
  readonly peakRssMb: number | null
  /** Null if there is no archive. */
  readonly firstByteMs: number | null
  readonly slowestFirstByteMs: number | null
  /** The slowest archive's time by the median one's. */
  readonly spread: number
}

export interface Verdict {
  readonly target: Target
  /** Null if there is nothing to judge by. */
  readonly value: number | null
  readonly reached: boolean | null
}

export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Own wall by the other's, of the rounds in which both ran. */
export function pairedRatios(own: Samples, other: Samples): number[] {
  return own.flatMap((sample, round) => {
    const peer = other[round]
    return sample && peer ? [sample.wallMs / peer.wallMs] : []
  })
}

/** Null if it never ran. */
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

/** What was reached of the targets of a workload; `samples` by name of the peer. */
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
