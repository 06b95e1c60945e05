// The interface between fetching and storing: the fetcher writes a body, and the sink takes it over or slows it down.
import type { Lease } from '../lib/blocks.ts'

/** Receives a body. The methods are called while the response is parsed, so none of them may wait. */
export interface BodySink {
  /**
   * A body begins. Bytes of an earlier attempt are void. `sizeBytes` is null if the origin did not announce a size. If
   * `etag` is not null, a later request can continue this body under it.
   */
  begin(sizeBytes: number | null, validator: string | null): void
  /**
   * Takes over the chunk, and its lease if it has one. The bytes stay unchanged until the lease is released. If the
   * result is false, send no more until `whenReady` calls back.
   */
  write(chunk: Buffer, lease?: Lease | null): boolean
  whenReady(resume: () => void): void
}
