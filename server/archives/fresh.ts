// A piece of the log that is in memory still, for the moment after it was written: whoever waits at the frontier is given it.

export interface Fresh {
  /** What lies from `offset` of the log on; null where that is not in the piece. */
  take(offset: number): FreshBytes | null
  /** The hold of who made it; to be called once. */
  release(): void
}

/** In order, without a gap; they stay as they are until `release`, which is to be called once. */
export interface FreshBytes {
  readonly buffers: readonly Uint8Array[]
  readonly bytes: number
  release(): void
}

/** Where they are smaller in the mean, it costs less to read them back together than to write each out by itself. */
const WORTHWHILE_BYTES = 32 * 1024

export const isWorthwhile = (buffers: readonly Uint8Array[], bytes: number): boolean =>
  buffers.length > 0 && bytes / buffers.length >= WORTHWHILE_BYTES

/** `buffers` lie from `begin` of the log on. `over` is called once nobody holds them any more. */
export function createFresh(begin: number, buffers: readonly Uint8Array[], over: () => void): Fresh {
  let holds = 1
  const release = () => {
    if (--holds === 0) over()
  }
  return {
    release,
    take(offset) {
      let at = begin
      for (const [index, buffer] of buffers.entries()) {
        const skipped = offset - at
        if (skipped < 0) return null
        at += buffer.length
        if (skipped >= buffer.length) continue
        const rest = [buffer.subarray(skipped), ...buffers.slice(index + 1)]
        holds++
        return { buffers: rest, bytes: rest.reduce((sum, { length }) => sum + length, 0), release }
      }
      return null
    },
  }
}
