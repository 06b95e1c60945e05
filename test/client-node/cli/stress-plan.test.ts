// What a stress run plans and how it counts.
import { describe, expect, it } from 'vitest'
import type { StressCommand } from '../../../client-node/cli/args.ts'
import {
  createRandom,
  type Outcome,
  percentile,
  planRounds,
  tableLine,
  tableRow,
} from '../../../client-node/cli/stress-plan.ts'

const command: StressCommand = {
  command: 'stress',
  server: 'http://127.0.0.1:1',
  input: null,
  clients: 100,
  rounds: 10,
  urls: 5,
  double: true,
  leave: 0.2,
  seed: null,
}
const list = ['a', 'b', 'c', 'd']

describe('a plan', () => {
  it('is the same for the same seed, and different for a different seed', () => {
    expect(planRounds(list, command, 7)).toEqual(planRounds(list, command, 7))
    expect(planRounds(list, command, 7)).not.toEqual(planRounds(list, command, 8))
  })

  it('has as many rounds, visits and entries as asked for', () => {
    const rounds = planRounds(list, command, 1)
    const visits = rounds.flat()
    expect(rounds.map(({ length }) => length)).toEqual(Array(10).fill(100))
    expect(visits.every(({ entries }) => entries.length === 5)).toBe(true)
    expect(new Set(visits.flatMap(({ entries }) => entries))).toEqual(new Set(list))
    const leaving = visits.filter(({ leaveAt }) => leaveAt !== null)
    expect(leaving.length / visits.length).toBeCloseTo(0.2, 1)
    expect(leaving.some(({ double }) => double)).toBe(false)
    expect(visits.some(({ double }) => double)).toBe(true)
  })

  it('has no duplicates and no clients that leave unless asked for them', () => {
    const visits = planRounds(list, { ...command, double: false, leave: 0 }, 1).flat()
    expect(visits.every(({ double, leaveAt }) => !double && leaveAt === null)).toBe(true)
  })

  it('chooses evenly', () => {
    const random = createRandom(42)
    const counts = [0, 0, 0, 0]
    for (let draw = 0; draw < 40_000; draw++) counts[Math.floor(random() * 4)]!++
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(400)
  })
})

describe('the table', () => {
  it.each([
    [[], 0.5, null],
    [[3], 0.99, 3],
    [[4, 1, 3, 2], 0.5, 2],
    [[4, 1, 3, 2], 0.99, 4],
  ])('of %j has %d at %s', (values, share, value) => {
    expect(percentile(values, share)).toBe(value)
  })

  it('counts the outcome of each visit', () => {
    const outcomes: Outcome[] = [
      { kind: 'archive', requests: 2, durationMs: 1000, bytes: 2048, failedEntries: 1 },
      { kind: 'archive', requests: 1, durationMs: 3000, bytes: 1024, failedEntries: 0 },
      { kind: 'left', requests: 1 },
      { kind: 'failed', requests: 1, message: 'x' },
    ]
    const row = tableRow('1', outcomes)
    expect(row).toEqual(['1', '5', '2', '1', '1', '1', '1.00 s', '3.00 s', '3.0 KiB'])
    expect(tableLine(row).length).toBe(tableLine(tableRow('all', [])).length)
  })
})
