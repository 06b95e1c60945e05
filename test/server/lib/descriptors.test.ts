// How descriptors are shared: everybody gets what it needs if there are enough, and otherwise a part.
import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { descriptorLimit, readDescriptorLimit, shareDescriptors } from '../../../server/lib/descriptors.ts'

const needs = { sockets: 4_000, fetches: 96, parts: 64, archives: 64 }
const sum = (counts: object) => Object.values(counts).reduce((total: number, count: number) => total + count, 0)

it.each([Number.POSITIVE_INFINITY, 1_048_576, 20_000])('gives everybody what it needs if there are %d', (limit) => {
  expect(shareDescriptors(limit, needs)).toEqual(needs)
})

it.each([64, 128, 256, 1_024, 4_096])('never gives away more than there are: %d', (limit) => {
  const shares = shareDescriptors(limit, needs)
  expect(sum(shares)).toBeLessThan(limit - 32)
  for (const name of ['sockets', 'fetches', 'parts', 'archives'] as const) {
    expect(shares[name]).toBeGreaterThan(0)
    expect(shares[name]).toBeLessThanOrEqual(needs[name])
  }
})

it('takes nothing from those that need little', () => {
  const few = { sockets: 10, fetches: 2, parts: 1, archives: 1 }
  expect(shareDescriptors(128, few)).toEqual(few)
})

it('gives everybody at least one', () => {
  expect(shareDescriptors(8, needs)).toEqual({ sockets: 1, fetches: 1, parts: 1, archives: 1 })
})

it('reads the soft limit from Linux, and assumes none if it is missing', () => {
  const told = `Limit                     Soft Limit           Hard Limit           Units
Max processes             127448               127448               processes
Max open files            1024                 524288               files
`
  expect(readDescriptorLimit(told)).toBe(1_024)
  expect(readDescriptorLimit(told.replace('1024 ', 'unlimited'))).toBe(Number.POSITIVE_INFINITY)
  expect(readDescriptorLimit('')).toBe(Number.POSITIVE_INFINITY)
})

it('finds the limit of this process', async () => {
  // A child process has the same limit.
  const told = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()
  expect(await descriptorLimit()).toBe(told === 'unlimited' ? Number.POSITIVE_INFINITY : Number(told))
})
