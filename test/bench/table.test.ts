// The figures of the benchmark's tables: medians, ratios within a round, targets.
import { describe, expect, it } from 'vitest'
import { figuresOf, judge, median, pairedRatios, type Sample } from './table.ts'
import { type Workload, workloads } from './workloads.ts'

const sample = (wallMs: number, more: Partial<Sample> = {}): Sample => ({
  wallMs,
  cpuMs: 0,
  peakRssBytes: 0,
  firstByteMs: [wallMs],
  doneMs: [wallMs],
  ...more,
})

describe('the median', () => {
  it('is the middle of an odd number of values, which are sorted as numbers', () => {
    expect(median([100, 9, 20])).toBe(20)
  })

  it('is half way between the two middle values of an even number', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5)
  })

  it('is NaN if there are no values', () => {
    expect(median([])).toBeNaN()
  })
})

describe('the ratio to a peer', () => {
  it('is taken within a round, so that a machine that becomes slower does not distort it', () => {
    const own = [sample(100), sample(200), sample(50)]
    const peer = [sample(200), sample(400), sample(100)]
    expect(pairedRatios(own, peer)).toEqual([0.5, 0.5, 0.5])
  })

  it('leaves out a round in which one of the two did not run', () => {
    expect(pairedRatios([sample(100), null, sample(90)], [sample(50), sample(10)])).toEqual([2])
  })
})

describe('the figures of a peer', () => {
  const workload: Workload = { ...workloads.W5, entries: 10, entryBytes: 1_000_000, archives: 4 }

  it('are null if it never ran', () => {
    expect(figuresOf(workload, [null, null])).toBeNull()
  })

  it('count CPU time by GB and by entry of all archives together', () => {
    const figures = figuresOf(workload, [sample(100, { cpuMs: 80 })])
    expect(figures?.cpuSecondsPerGb).toBeCloseTo(2)
    expect(figures?.cpuMicrosPerEntry).toBeCloseTo(2000)
  })

  it('contain the median archive and the slowest one', () => {
    const figures = figuresOf(workload, [sample(100, { firstByteMs: [10, 20, 20, 90], doneMs: [40, 50, 50, 100] })])
    expect(figures).toMatchObject({ firstByteMs: 20, slowestFirstByteMs: 90, spread: 2 })
  })

  it('have no first byte if no archive was made, and no memory if none was measured', () => {
    const figures = figuresOf(workload, [sample(100, { firstByteMs: [], peakRssBytes: null })])
    expect(figures).toMatchObject({ firstByteMs: null, slowestFirstByteMs: null, peakRssMb: null })
  })

  it('count only the rounds in which it ran', () => {
    const figures = figuresOf(workload, [sample(300), null, sample(100), sample(200)])
    expect(figures).toMatchObject({ count: 3, wallMs: { median: 200, min: 100, max: 300 } })
  })
})

describe('a target', () => {
  const own = [sample(75, { cpuMs: 2000 })]
  const w1: Workload = { ...workloads.W1, entries: 1000, entryBytes: 1_000_000 }

  it('is reached if the figure equals it', () => {
    const samples = new Map([
      ['sheaf', own],
      ['pass-through', [sample(100)]],
    ])
    expect(judge(w1, samples)).toEqual([
      { target: w1.targets[0], value: 0.75, reached: true },
      { target: w1.targets[1], value: 2, reached: true },
    ])
  })

  it('is missed if the figure is just above it', () => {
    const samples = new Map([
      ['sheaf', [sample(75, { cpuMs: 2010 })]],
      ['pass-through', [sample(99)]],
    ])
    expect(judge(w1, samples).map(({ reached }) => reached)).toEqual([false, false])
  })

  it('is neither reached nor missed if the peer did not run', () => {
    const [wall, cpu] = judge(w1, new Map([['sheaf', own]]))
    expect(wall).toMatchObject({ value: null, reached: null })
    expect(cpu).toMatchObject({ value: 2, reached: true })
  })
})
