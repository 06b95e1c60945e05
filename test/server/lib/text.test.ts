// Text that is cut: it is never too long, never cut inside a character, and unchanged if it fits.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cutEnd, cutMiddle } from '../../../server/lib/text.ts'

const text = fc.string({ unit: fc.constantFrom('a', 'é', '\u{1f600}', '\u{1f601}', '中'), maxLength: 40 })
const length = fc.nat(50)

describe.each([
  ['cutEnd', cutEnd],
  ['cutMiddle', cutMiddle],
])('%s', (_, cut) => {
  it('has whole characters, is no longer than asked for, and loses at most one unit more at each cut', () => {
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

  it('does not join two separate halves to a character', () => {
    expect(cut(`\u{1f600}${'a'.repeat(9)}\u{1f601}`, 2).isWellFormed()).toBe(true)
  })
})

it('cutMiddle keeps the beginning and the end', () => {
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
