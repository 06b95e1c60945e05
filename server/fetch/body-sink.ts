// Where the bytes of a body go: the side that fetches writes, the side that stores takes over and slows it down.
import type { Lease } from '../lib/blocks.ts'

/** Where a body goes. Called while the response is parsed, so nothing here may wait. */
export interface BodySink {
  /**
   * A body begins, of `sizeBytes` if the origin told; what came before was another try and is void. Under `etag`, if there
   * is one, a later request can go on with it.
   */
  begin(sizeBytes: number | null, etag: string | null): void
  /**
   * Takes over the chunk, and its lease if it has one: the bytes stay until that is released. False: send no more until
   * the callback given to `whenReady` is called.
   */
  write(chunk: Buffer, lease?: Lease | null): boolean
  whenReady(resume: () => void): void
}
