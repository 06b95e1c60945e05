// Text that is cut: never too long, never in the midst of a character, and as it is where it need not be cut.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cutEnd, cutMiddle } from '../../../server/lib/text.ts'

const text = fc.string({ unit: fc.constantFrom('a', 'é', '\u{1f600}', '\u{1f601}', '中'), maxLength: 40 })
const length = fc.nat(50)

describe.each([
  ['cutEnd', cutEnd],
  ['cutMiddle', cutMiddle],
])('%s', (_, cut) => {
  it('is of whole characters, no longer than asked for, and loses one unit at each cut at most', () => {
    fc.assert(
      fc.property(text, length, (whole, most) => {
        const short = cut(whole, most)
        expect(short.isWellFormed()).toBe(true)
        expect(short.length).toBeLessThanOrEqual(most)
        if (whole.length <= most) expect(short).toBe(whole)
        else expect(short.length).toBeGreaterThanOrEqual(most - 2)
      }),
    )
  })

  it('makes no character of two halves that were apart', () => {
    expect(cut(`\u{1f600}${'a'.repeat(9)}\u{1f601}`, 2).isWellFormed()).toBe(true)
  })
})

it('cutMiddle keeps beginning and end', () => {
  fc.assert(
    fc.property(text, length, (whole, most) => {
      const short = cutMiddle(whole, most)
      const head = [...short].findIndex((_, at, all) => !whole.startsWith(all.slice(0, at + 1).join('')))
      const rest = head < 0 ? '' : [...short].slice(head).join('')
      expect(whole.endsWith(rest)).toBe(true)
    }),
  )
  expect(cutMiddle('folder/name.txt', 8)).toBe('fold.txt')
})
