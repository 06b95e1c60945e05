// Where the bytes of an archive lie: extents in archive order, up to the frontier. Knows no files, only their names.
import type { Extent } from '../../ports/journal.ts'

export interface Layout {
  readonly extents: readonly Extent[]
  /** End of the readable bytes: the sum of all extents. */
  readonly readableBytes: number
  add(extent: Extent): void
  /** What lies at `position`: file, offset there, and how many bytes follow in one piece. Null at the frontier. */
  locate(position: number): Extent | null
  /** Forgets everything. */
  clear(): void
}

export type GrowingExtent = { -readonly [Key in keyof Extent]: Extent[Key] }

/** What follows on in the same file makes the last extent longer: most archives come down to very few. True: it is a new one. */
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

/** Fills `target` from `position` on as far as the frontier allows; answers how many bytes. */
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
