// Maps positions in an archive to spool files: extents in archive order, up to the frontier. Opens no file.
import type { Extent } from '../../ports/journal.ts'

export interface Layout {
  readonly extents: readonly Extent[]
  /** End of the readable bytes, which is the sum of all extents. */
  readonly readableBytes: number
  add(extent: Extent): void
  /** Returns the file and offset of `position`, and how many bytes follow in one piece. Null at the frontier. */
  locate(position: number): Extent | null
  clear(): void
}

export type GrowingExtent = { -readonly [Key in keyof Extent]: Extent[Key] }

/**
 * Appends an extent, or makes the last one longer if the new one follows it in the same file, which keeps their number small.
 * @returns whether it is a new extent
 */
export function appendExtent(extents: GrowingExtent[], { file, offset, length }: Extent): boolean {
  if (length === 0) return false
  const last = extents.at(-1)
  if (last !== undefined && last.file === file && last.offset + last.length === offset) {
    last.length += length
    return false
  }
  extents.push({ file, offset, length })
  return true
}

export function createLayout(initial: readonly Extent[] = []): Layout {
  const extents: GrowingExtent[] = []
  /** Where each extent begins in the archive. */
  const starts: number[] = []
  let readableBytes = 0

  const layout: Layout = {
    extents,
    get readableBytes() {
      return readableBytes
    },
    add(extent) {
      if (appendExtent(extents, extent)) starts.push(readableBytes)
      readableBytes += extent.length
    },
    locate(position) {
      if (position < 0 || position >= readableBytes) return null
      let low = 0
      let high = starts.length - 1
      while (low < high) {
        const middle = (low + high + 1) >>> 1
        if (starts[middle]! <= position) low = middle
        else high = middle - 1
      }
      const { file, offset, length } = extents[low]!
      const skipped = position - starts[low]!
      return { file, offset: offset + skipped, length: length - skipped }
    },
    clear() {
      extents.length = starts.length = 0
      readableBytes = 0
    },
  }
  for (const extent of initial) layout.add(extent)
  return layout
}

/** Fills `target` with the bytes from `position` on, up to the frontier. Resolves to the number of bytes. */
export async function readLayout(
  layout: Layout,
  read: (file: string, offset: number, target: Uint8Array) => Promise<number> | number,
  position: number,
  target: Uint8Array,
): Promise<number> {
  let filled = 0
  while (filled < target.length) {
    const piece = layout.locate(position + filled)
    if (piece === null) break
    const bytes = await read(piece.file, piece.offset, target.subarray(filled, filled + piece.length))
    if (bytes === 0) throw new Error(`the spool file ${piece.file} ends before byte ${piece.offset}`)
    filled += bytes
  }
  return filled
}
