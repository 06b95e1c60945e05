// Where the bytes of an archive lie, compared with an array that holds them all.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLayout, readLayout } from '../../../../server/archives/bytes/layout.ts'

const A = { file: 'log', offset: 10, length: 5 }
const B = { file: 'part-0', offset: 0, length: 3 }

describe('a layout', () => {
  it('is empty at first', async () => {
    const layout = createLayout()
    expect([layout.readableBytes, layout.extents, layout.locate(0)]).toEqual([0, [], null])
    expect(await readLayout(layout, () => expect.unreachable(), 0, Buffer.alloc(5))).toBe(0)
  })

  it('returns for each position the file, the offset, and how much follows in one piece', () => {
    const layout = createLayout([A, B])
    expect(layout.readableBytes).toBe(8)
    expect(layout.locate(0)).toEqual(A)
    expect(layout.locate(4)).toEqual({ file: 'log', offset: 14, length: 1 })
    expect(layout.locate(5)).toEqual(B)
    expect(layout.locate(7)).toEqual({ file: 'part-0', offset: 2, length: 1 })
    expect(layout.locate(8)).toBeNull()
    expect(layout.locate(-1)).toBeNull()
  })

  it('merges extents only if they follow each other in the same file', () => {
    const layout = createLayout([A, { file: 'log', offset: 15, length: 2 }])
    expect(layout.extents).toEqual([{ file: 'log', offset: 10, length: 7 }])
    layout.add({ file: 'log', offset: 18, length: 1 })
    layout.add({ file: 'part-0', offset: 19, length: 1 })
    expect(layout.extents).toHaveLength(3)
  })

  it('ignores empty extents', () => {
    const layout = createLayout([{ ...A, length: 0 }, B, { file: 'log', offset: 0, length: 0 }])
    expect(layout.extents).toEqual([B])
    expect(layout.locate(0)).toEqual(B)
  })

  it('forgets everything when it is cleared, and starts over', () => {
    const layout = createLayout([A, B])
    layout.clear()
    expect([layout.readableBytes, layout.extents, layout.locate(0)]).toEqual([0, [], null])
    layout.add(B)
    expect(layout.locate(1)).toEqual({ file: 'part-0', offset: 1, length: 2 })
  })

  it('does not change extents that it has handed out', () => {
    const given = createLayout([A]).extents
    const layout = createLayout(given)
    layout.add({ file: 'log', offset: 15, length: 1 })
    expect(given).toEqual([A])
  })

  it('reads what one array of all extents would hold, even through short reads', async () => {
    const file = fc.constantFrom('log', 'part-0', 'part-1')
    const extent = fc.record({ file, offset: fc.nat(20), length: fc.nat(10) })
    const range = fc.tuple(fc.nat(100), fc.nat(50), fc.integer({ min: 1, max: 4 }))
    await fc.assert(
      fc.asyncProperty(fc.array(extent, { maxLength: 12 }), range, async (extents, [position, length, most]) => {
        const byteAt = (name: string, offset: number) => name.length * 31 + name.charCodeAt(5) + offset
        const whole = extents.flatMap((each) =>
          Array.from({ length: each.length }, (_, n) => byteAt(each.file, each.offset + n) & 0xff),
        )
        const read = async (name: string, offset: number, target: Uint8Array) => {
          const bytes = Math.min(most, target.length)
          for (let n = 0; n < bytes; n++) target[n] = byteAt(name, offset + n)
          return bytes
        }
        const target = Buffer.alloc(length)
        const bytes = await readLayout(createLayout(extents), read, position, target)
        expect([...target.subarray(0, bytes)]).toEqual(whole.slice(position, position + length))
      }),
    )
  })

  it('reports a file that is shorter than its extents', async () => {
    await expect(readLayout(createLayout([A]), async () => 0, 0, Buffer.alloc(1))).rejects.toThrow('log ends before')
  })
})
