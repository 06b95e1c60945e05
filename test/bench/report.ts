// Renders figures and targets as plain text or Markdown. It is pure.
import { type Figures, figuresOf, judge, median, pairedRatios, type Samples, type Verdict } from './table.ts'
import { describeWorkload, type Target, type Workload } from './workloads.ts'

export interface ReportOptions {
  readonly markdown: boolean
  /** If this is not 1 no verdicts are given: a fraction of a workload says nothing about its targets. */
  readonly scale: number
}

const columns = [
  'peer',
  'wall s',
  'min',
  'max',
  'n',
  'sheaf / it',
  'CPU-s/GB',
  'CPU us/entry',
  'peak RSS MB',
  'first byte ms',
]
const columnsAtOnce = ['slowest first byte ms', 'slowest/median']

/** Renders the table of one workload and its targets. `samples` has a row for each peer, by name and in order. */
export function reportOf(workload: Workload, samples: ReadonlyMap<string, Samples>, options: ReportOptions): string {
  const atOnce = workload.archives > 1
  const head = atOnce ? [...columns, ...columnsAtOnce] : columns
  const own = samples.get('sheaf') ?? []
  const rows = [...samples].map(([peer, of]) => {
    const figures = figuresOf(workload, of)
    if (figures === null) return [peer, 'failed', ...Array(head.length - 2).fill('')]
    const ratio = peer === 'sheaf' ? Number.NaN : median(pairedRatios(own, of))
    return [peer, ...cells(figures, ratio, atOnce)]
  })
  const title = `${workload.name}: ${describeWorkload(workload)}`
  const targets = judge(workload, samples).map((verdict) => tellVerdict(verdict, options))
  const heading = options.markdown ? `### ${title}` : title
  return `${heading}\n\n${renderTable(head, rows, options.markdown)}\n\n${targets.join('\n')}\n`
}

function cells(figures: Figures, ratio: number, atOnce: boolean): string[] {
  const { wallMs, count, cpuSecondsPerGb, cpuMicrosPerEntry, peakRssMb, firstByteMs } = figures
  const always = [
    seconds(wallMs.median),
    seconds(wallMs.min),
    seconds(wallMs.max),
    String(count),
    Number.isNaN(ratio) ? '' : ratio.toFixed(2),
    cpuSecondsPerGb.toFixed(2),
    cpuMicrosPerEntry.toFixed(cpuMicrosPerEntry < 100 ? 1 : 0),
    whole(peakRssMb),
    whole(firstByteMs),
  ]
  return atOnce ? [...always, whole(figures.slowestFirstByteMs), figures.spread.toFixed(2)] : always
}

const whole = (value: number | null) => value?.toFixed(0) ?? ''
const seconds = (ms: number) => (ms / 1000).toFixed(2)

/** Aligns the first column to the left and all others to the right. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[], markdown: boolean): string {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length), 3))
  const pad = (row: readonly string[]) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
  if (!markdown) return all.map((row) => pad(row).join('  ').trimEnd()).join('\n')
  const rule = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [pad(head), rule, ...rows.map(pad)].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

function tellVerdict({ target, value, reached }: Verdict, { markdown, scale }: ReportOptions): string {
  const word = reached === null ? 'not measured' : reached ? 'reached' : 'missed'
  const measured = value === null ? '' : `, is ${value.toFixed(digitsOf(target))}`
  const doubt = scale === 1 ? '' : ` (of ${scale} of the workload: no verdict)`
  return `${markdown ? '- ' : '  '}${nameOf(target)} <= ${target.most}${measured}: ${word}${doubt}`
}

function nameOf(target: Target): string {
  switch (target.of) {
    case 'wall':
      return `wall by that of ${target.against}`
    case 'cpuSecondsPerGb':
      return 'CPU-s/GB'
    case 'cpuMicrosPerEntry':
      return 'CPU us/entry'
    case 'firstByteMs':
      return 'first byte of the median archive, ms'
    case 'slowestFirstByteMs':
      return 'first byte of the slowest archive, ms'
    case 'peakRssMb':
      return 'peak RSS, MB'
    case 'spread':
      return 'slowest archive by the median one'
    default:
      return target satisfies never
  }
}

function digitsOf({ of }: Target): number {
  return of === 'firstByteMs' || of === 'slowestFirstByteMs' || of === 'peakRssMb' ? 0 : 2
}
