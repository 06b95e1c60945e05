// The rate of bytes over the last seconds.
import { expect, it } from 'vitest'
import { createRate } from '../../../../server/archives/build/rate.ts'

function rateOf(...samples: [nowMs: number, bytes: number][]): number {
  const rate = createRate()
  for (const [nowMs, bytes] of samples) rate.sample(nowMs, bytes)
  return rate.bytesPerSecond
}

it.each<[string, [number, number][], number]>([
  ['nothing is known', [], 0],
  ['one sample says nothing', [[0, 100]], 0],
  [
    'two at the same time say nothing',
    [
      [5, 0],
      [5, 100],
    ],
    0,
  ],
  [
    'time that goes back says nothing',
    [
      [5, 0],
      [4, 100],
    ],
    0,
  ],
  [
    'two seconds, 3000 bytes',
    [
      [1_000, 0],
      [3_000, 3_000],
    ],
    1_500,
  ],
  [
    'bytes that were lost are no negative rate',
    [
      [0, 500],
      [1_000, 0],
    ],
    0,
  ],
  [
    'what is long past does not count',
    [
      [0, 0],
      [1_000, 9_000],
      [4_000, 9_000],
      [7_000, 9_000],
    ],
    0,
  ],
  [
    'just at the window, the older one still counts',
    [
      [0, 0],
      [1, 1],
      [3_000, 3_000],
    ],
    1_000,
  ],
  [
    'just past it, no more',
    [
      [0, 0],
      [1, 300],
      [3_001, 3_300],
    ],
    1_000,
  ],
  [
    'after a long pause the last two count',
    [
      [0, 0],
      [60_000, 120_000],
    ],
    2_000,
  ],
])('%s', (_, samples, expected) => {
  expect(rateOf(...samples)).toBe(expected)
})

it('keeps no more samples than the window needs', () => {
  const rate = createRate()
  for (let n = 0; n < 100_000; n++) rate.sample(n * 250, n * 1_000)
  expect(rate.sampleCount).toBeLessThanOrEqual(3_000 / 250 + 2)
})
