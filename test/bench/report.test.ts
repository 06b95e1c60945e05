// How the benchmark prints its figures: as text and as Markdown, with a verdict for each target.
import { describe, expect, it } from 'vitest'
import { renderTable, reportOf } from './report.ts'
import type { Sample, Samples } from './table.ts'
import { workloads } from './workloads.ts'

const sample = (wallMs: number): Sample => ({
  wallMs,
  cpuMs: 1000,
  peakRssBytes: 150e6,
  firstByteMs: [12],
  doneMs: [wallMs],
})

const samples = new Map<string, Samples>([
  ['sheaf', [sample(1000), sample(3000)]],
  ['pass-through', [sample(2000), sample(4000)]],
  ['naive', [sample(5000), null]],
  ['zipstream', [null, null]],
])
const text = reportOf(workloads.W1, samples, { markdown: false, scale: 1 })

describe('the report of a workload', () => {
  it('has a line for each peer, with its ratio and how often it ran', () => {
    const [, sheaf, passThrough, naive, zipstream] = text.split('\n').slice(2)
    expect(sheaf).toMatch(/^sheaf +2\.00 +1\.00 +3\.00 +2 {2,}0\.95 +1000 +150 +12$/)
    expect(passThrough).toMatch(/^pass-through +3\.00 +2\.00 +4\.00 +2 +0\.63 /)
    expect(naive).toMatch(/^naive +5\.00 +5\.00 +5\.00 +1 +0\.20 /)
    expect(zipstream).toMatch(/^zipstream +failed$/)
  })

  it('reports for each target the figure and if it was reached', () => {
    expect(text).toContain('wall by that of pass-through <= 0.75, is 0.63: reached\n')
    expect(text).toContain('CPU-s/GB <= 2, is 0.95: reached\n')
  })

  it('says that a fraction of a workload gives no verdict', () => {
    expect(reportOf(workloads.W1, samples, { markdown: false, scale: 0.1 })).toContain('no verdict')
    expect(text).not.toContain('no verdict')
  })

  it('shows the slowest archive only if several were made at once', () => {
    expect(text).not.toContain('slowest')
    expect(reportOf(workloads.W5, samples, { markdown: false, scale: 1 })).toContain('slowest first byte ms')
  })

  it('can be a Markdown table', () => {
    const markdown = reportOf(workloads.W1, samples, { markdown: true, scale: 1 }).split('\n')
    expect(markdown[0]).toBe('### W1: 1000 x 1 MiB')
    const table = markdown.filter((line) => line.startsWith('|'))
    expect(table).toHaveLength(2 + samples.size)
    expect(new Set(table.map((line) => line.split('|').length)).size).toBe(1)
  })
})

describe('a table', () => {
  it('aligns names to the left and numbers to the right', () => {
    expect(renderTable(['peer', 'n'], [['a', '10']], false)).toBe('peer    n\na      10')
    expect(renderTable(['peer', 'n'], [['a', '10']], true)).toBe('| peer |   n |\n| ---- | --: |\n| a    |  10 |')
  })
})
