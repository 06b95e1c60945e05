// Plans what the clients of a stress run do, and formats the outcome. Pure: the same seed plans the same run.
import type { EntryInput } from '#contracts/archive.ts'
import { formatBytes } from '#contracts/sizes.ts'
import type { StressCommand } from './args.ts'

/** One client in one round. */
export interface Visit {
  readonly entries: EntryInput[]
  /** The client sends the same key a second time at once, over a second connection. */
  readonly double: boolean
  /** The client leaves when this share of the entries is settled. Null: it stays. */
  readonly leaveAt: number | null
  /** A client that leaves cancels the archive first, instead of just going. */
  readonly cancels: boolean
}

export type Outcome =
  | { kind: 'archive'; requests: number; durationMs: number; bytes: number; failedEntries: number }
  | { kind: 'left'; requests: number }
  | { kind: 'failed'; requests: number; message: string }

/** Returns a list of visits for each round. */
export function planRounds(list: readonly EntryInput[], command: StressCommand, seed: number): Visit[][] {
  const random = createRandom(seed)
  const { rounds, clients, urls, double, leave } = command
  return Array.from({ length: rounds }, () =>
    Array.from({ length: clients }, (): Visit => {
      const entries = Array.from({ length: urls }, () => list[Math.floor(random() * list.length)]!)
      const leaveAt = random() < leave ? random() : null
      const cancels = random() < 0.5
      return { entries, double: double && leaveAt === null && random() < 0.5, leaveAt, cancels }
    }),
  )
}

/** This is mulberry32. Its 32 bits of state are enough for choosing URLs. */
export function createRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Uses the nearest rank. Returns null if there are no values. */
export function percentile(values: readonly number[], share: number): number | null {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null
}

export const columns = ['round', 'requests', 'archives', 'left', 'failed', 'entries failed', 'p50', 'p99', 'bytes']

export function tableRow(round: string, outcomes: readonly Outcome[]): string[] {
  const archives = outcomes.filter((outcome) => outcome.kind === 'archive')
  const durations = archives.map(({ durationMs }) => durationMs)
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0)
  const seconds = (ms: number | null) => (ms === null ? '-' : `${(ms / 1000).toFixed(2)} s`)
  return [
    round,
    String(sum(outcomes.map(({ requests }) => requests))),
    String(archives.length),
    String(outcomes.filter(({ kind }) => kind === 'left').length),
    String(outcomes.filter(({ kind }) => kind === 'failed').length),
    String(sum(archives.map(({ failedEntries }) => failedEntries))),
    seconds(percentile(durations, 0.5)),
    seconds(percentile(durations, 0.99)),
    formatBytes(sum(archives.map(({ bytes }) => bytes))),
  ]
}

/** Aligns cells to the right. Columns have a least width, so that rows line up although they are printed one by one. */
export function tableLine(cells: readonly string[]): string {
  return cells.map((cell, index) => cell.padStart(Math.max(columns[index]?.length ?? 0, 9))).join('  ')
}
