// The pace of a download: which clients are too slow.
import { describe, expect, it } from 'vitest'
import { createPace } from '../../../server/http/pace.ts'

const MiB = 1024 ** 2

describe('the least rate', () => {
  it('is checked when the server has waited for a client as long as the window, and not before', () => {
    const pace = createPace({ minBytesPerSecond: 1_000, windowMs: 10_000 })
    expect(pace.took(1_000, 4_000)).toBe(true)
    expect(pace.took(1_000, 5_999)).toBe(true)
    expect(pace.took(1_000, 1)).toBe(false)
  })

  it.each([
    [10_000, true],
    [9_999, false],
  ])('allows a client %i bytes in ten seconds: %s', (bytes, passes) => {
    const pace = createPace({ minBytesPerSecond: 1_000, windowMs: 10_000 })
    expect(pace.took(bytes, 10_000)).toBe(passes)
  })

  it('checks each window alone: fast bytes earlier do not make up for a trickle now', () => {
    const pace = createPace({ minBytesPerSecond: 1_000, windowMs: 1_000 })
    expect(pace.took(100 * MiB, 1_000)).toBe(true)
    expect(pace.took(999, 1_000)).toBe(false)
  })

  it('does not count time in which the server did not wait for the client', () => {
    const pace = createPace({ minBytesPerSecond: 1_000, windowMs: 1_000 })
    for (let n = 0; n < 10_000; n++) expect(pace.took(10, 0)).toBe(true)
  })

  it('allows any rate if it is 0', () => {
    const pace = createPace({ minBytesPerSecond: 0, windowMs: 1_000 })
    for (let n = 0; n < 10; n++) expect(pace.took(0, 60_000)).toBe(true)
  })
})

describe('a client', () => {
  it('is slow once a chunk has waited for a second, until a chunk does not', () => {
    const pace = createPace({ minBytesPerSecond: 0, windowMs: 60_000 })
    expect(pace.isSlow).toBe(false)
    pace.took(MiB, 999)
    expect(pace.isSlow).toBe(false)
    pace.took(MiB, 1_000)
    expect(pace.isSlow).toBe(true)
    pace.took(1, 0)
    expect(pace.isSlow).toBe(false)
  })

  it('may hold little memory until it has taken more than the kernel buffers, and none while it is slow', () => {
    const pace = createPace({ minBytesPerSecond: 0, windowMs: 60_000 })
    expect(pace.mayHoldBytes).toBe(3 * MiB)
    pace.took(8 * MiB - 1, 0)
    expect(pace.mayHoldBytes).toBe(3 * MiB)
    pace.took(1, 999)
    expect(pace.mayHoldBytes).toBe(Number.POSITIVE_INFINITY)
    pace.took(MiB, 1_000)
    expect(pace.mayHoldBytes).toBe(0)
    pace.took(7 * MiB, 0)
    expect(pace.mayHoldBytes).toBe(3 * MiB)
  })

  it.each([
    [1, 10 * MiB, 2 ** 31 - 1],
    [1_000, 5_000, 60_000],
    [1_000, 70_000, 70_000],
    [0, 70_000, null],
  ])('may, at a least rate of %i, take %i bytes in at most %s ms', (minBytesPerSecond, bytes, maxMs) => {
    expect(createPace({ minBytesPerSecond, windowMs: 60_000 }).maxMs(bytes)).toBe(maxMs)
  })
})
