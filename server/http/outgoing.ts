// Chooses which bytes of an archive go out next, and in which memory: a recent write, a pooled block or a small buffer.
// Without pooled blocks, sending a complete archive takes twice the CPU time. Live downloads of the benchmark hardly use them.
import type { RecentBytes } from '../archives/bytes/recent-write.ts'
import type { ArchiveReading } from '../archives/views/reading.ts'
import type { Block, BlockPool } from '../lib/blocks.ts'
import type { Pace } from './pace.ts'

/** Bytes of the archive. They do not change until they are released. */
export type Slice = Omit<RecentBytes, 'heldBytes'>

export interface Outgoing {
  /** Returns bytes from `position`, which must be readable, and none past `end`. Null: as far as bytes are readable. */
  next(
    reading: ArchiveReading,
    position: number,
    end: number | null,
    pace: Pick<Pace, 'isSlow' | 'mayHoldBytes'>,
  ): Promise<Slice>
}

/** A slow client gets this little at a time, and so does everybody while all blocks are out. */
const SMALL_SLICE_BYTES = 64 * 1024
/** The most memory of recent writes that all downloads together keep. */
const MAX_RECENT_BYTES = 32 * 1024 * 1024

/** All downloads share one. */
export function createOutgoing(blocks: BlockPool): Outgoing {
  let recentBytes = 0

  function takeRecent(reading: ArchiveReading, position: number, maxBytes: number): Slice | null {
    const recent = maxBytes > 0 ? reading.takeRecent(position) : null
    if (recent === null) return null
    const { buffers, bytes, heldBytes } = recent
    if (heldBytes > Math.min(maxBytes, MAX_RECENT_BYTES - recentBytes)) {
      recent.release()
      return null
    }
    recentBytes += heldBytes
    const release = () => {
      recentBytes -= heldBytes
      recent.release()
    }
    return { buffers, bytes, release }
  }

  async function read(
    reading: ArchiveReading,
    position: number,
    end: number | null,
    block: Block | null,
  ): Promise<Slice> {
    const memory = block?.memory ?? Buffer.allocUnsafeSlow(SMALL_SLICE_BYTES)
    const wanted = end === null ? memory.length : Math.min(memory.length, end - position)
    const release = () => {
      if (block !== null) blocks.release(block)
    }
    try {
      const bytes = await reading.read(position, memory.subarray(0, wanted))
      return { buffers: [memory.subarray(0, bytes)], bytes, release }
    } catch (error) {
      release()
      throw error
    }
  }

  return {
    async next(reading, position, end, { isSlow, mayHoldBytes }) {
      // Recent writes are at the end of a growing archive, and only a client that follows it is there.
      const recent = end === null ? takeRecent(reading, position, mayHoldBytes) : null
      return recent ?? read(reading, position, end, isSlow ? null : blocks.take())
    },
  }
}
