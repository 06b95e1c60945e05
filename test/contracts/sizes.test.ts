// Sizes in binary units, as people read them.
import { describe, expect, it } from 'vitest'
import { formatBytes } from '../../contracts/sizes.ts'

const MIB = 1024 ** 2

describe('sizes', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [MIB - 1, '1.0 MiB'],
    [1.25 * 1024 * MIB, '1.3 GiB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })
})
