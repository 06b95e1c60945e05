// Holds a body until it is whole: in memory if it is small and the budget has room, otherwise in a part of the spool.
import { type Lease, releaseAll } from '../../lib/blocks.ts'
import { crc32 } from '../../lib/crc32.ts'
import type { PartWriter, SpoolWriter } from '../../ports/spool.ts'
import { ChunkPacker } from './chunk-packer.ts'
import type { StagingMemory } from './staging-memory.ts'

/** Bodies up to this size may wait in memory. A larger one would take the room of many others. */
export const SMALL_BODY_BYTES = 2 * 1024 * 1024
/** If a part's queue is longer than this, the origin is paused until the disk has caught up. */
const PART_QUEUE_BYTES = 1024 * 1024

/**
 * A chunk is a view into a larger buffer and keeps all of it alive. It is copied if it would keep much more than it uses. That
 * is so for any chunk below 4 KiB, for a chunk without a lease that fills less than half of its buffer, and for a chunk with a
 * lease if its body is below 32 KiB. Kept memory is bounded: if it has a lease, by the pool it comes from, otherwise by twice
 * what the staging budget and the queues of parts count.
 *
 * Bodies below 32 KiB that keep their slabs instead take some 5 % more CPU time (`npm run bench -- W2 --rounds 7`).
 */
const COPIED_BODY_BYTES = 32 * 1024
const COPIED_CHUNK_BYTES = 4 * 1024
/** How much memory is taken at a time for the small chunks of a larger body. */
const COPIED_BLOCK_BYTES = 8 * 1024

export interface StagedBodyOptions {
  readonly spool: SpoolWriter
  readonly staging: StagingMemory
  /** Called if the spool fails, so that the archive cannot continue. */
  spoolFailed(error: unknown): void
  /** Called now and then while a large body grows, with what its part holds by then. */
  grown?(checkpoint: BodyCheckpoint): void
}

export interface BodyCheckpoint {
  readonly file: string
  readonly receivedBytes: number
  /** CRC of the received bytes. */
  readonly crc32: number
}

/** Bytes of a large body between two checkpoints. About this much of it may have to be fetched again after a crash. */
const CHECKPOINT_BYTES = 16 * 1024 * 1024

/** One body under way. Either `memory` or `part` holds it. It is used once. */
export class StagedBody {
  readonly #options: StagedBodyOptions
  sizeBytes = 0
  crc32 = 0
  memory: Buffer[] = []
  part: PartWriter | null = null
  readonly #announcedBytes: number
  /** The leases of `memory`, or later of the queue for the part, but never of both. */
  #leases: Lease[] = []
  #packer: ChunkPacker | null = null
  #reservedBytes = 0
  #toPart = false
  /** Chunks that wait for the part. `queuedBytes` also counts the batch that is being written. */
  #queue: Buffer[] = []
  #queuedBytes = 0
  #writing: Promise<void> | null = null
  #broken = false
  #isDropped = false
  #resume: (() => void) | null = null
  /** What the part holds by now. */
  #written: BodyCheckpoint | null = null
  #reportedBytes = 0

  /** `announcedBytes` is the size that the origin announced, or null if it announced none. */
  constructor(announcedBytes: number | null, options: StagedBodyOptions) {
    this.#options = options
    this.#announcedBytes = announcedBytes ?? 0
    if (announcedBytes !== null) this.#toPart = announcedBytes > SMALL_BODY_BYTES || !this.#reserve(announcedBytes)
  }

  /** Continues a part that already holds these bytes. */
  static continued(part: PartWriter, written: BodyCheckpoint, options: StagedBodyOptions): StagedBody {
    const body = new StagedBody(Number.POSITIVE_INFINITY, options)
    body.part = part
    body.sizeBytes = body.#reportedBytes = written.receivedBytes
    body.crc32 = written.crc32
    body.#written = written
    return body
  }

  get isInPart(): boolean {
    return this.#toPart
  }

  /**
   * Takes the lease over, and releases it once the bytes are copied, in the part, or not needed.
   * @returns false if the origin has to pause until `whenReady` calls back
   */
  write(chunk: Buffer, lease: Lease | null = null): boolean {
    if (this.#isDropped || this.#broken || chunk.length === 0) {
      lease?.release()
      return true
    }
    this.sizeBytes += chunk.length
    this.crc32 = crc32(chunk, this.crc32)
    if (!this.#toPart && !this.#fitsInMemory()) this.#moveToPart()
    const chunks = this.#toPart ? this.#queue : this.memory
    if (this.#isToBeCopied(chunk, lease)) {
      this.#packer ??= new ChunkPacker(this.#options.staging)
      this.#packer.pack(chunk, this.#expectedBytes(chunk), chunks, this.#leases)
      lease?.release()
    } else {
      chunks.push(chunk)
      if (lease !== null) this.#leases.push(lease)
    }
    if (!this.#toPart) return true
    this.#queuedBytes += chunk.length
    this.#startDrain()
    return this.#queuedBytes < PART_QUEUE_BYTES
  }

  #isToBeCopied(chunk: Buffer, lease: Lease | null): boolean {
    if (chunk.length < COPIED_CHUNK_BYTES) return true
    if (lease === null) return chunk.length * 2 < chunk.buffer.byteLength
    return Math.max(this.#announcedBytes, this.sizeBytes) < COPIED_BODY_BYTES
  }

  /** Estimates this chunk and what follows it. A body without a Content-Length is assumed to double. */
  #expectedBytes(chunk: Buffer): number {
    const total = this.#announcedBytes > 0 ? this.#announcedBytes : 2 * this.sizeBytes - chunk.length
    const restBytes = total - this.sizeBytes + chunk.length
    return total < COPIED_BODY_BYTES ? restBytes : Math.min(restBytes, COPIED_BLOCK_BYTES)
  }

  #moveToPart(): void {
    this.#toPart = true
    this.#queue = this.memory
    this.#queuedBytes = this.memory.reduce((sum, { length }) => sum + length, 0)
    this.memory = []
    this.#releaseReservation()
  }

  whenReady(resume: () => void): void {
    if (this.#queuedBytes < PART_QUEUE_BYTES) resume()
    else this.#resume = resume
  }

  /** Resolves once everything is in the part, or at once for a body in memory. Rejects if the spool failed. */
  async whole(): Promise<void> {
    // An empty body that was meant for a part has written nothing, so its part must still be created.
    if (this.#toPart && this.part === null && !this.#broken) this.#startDrain()
    while (this.#writing !== null) await this.#writing
    if (this.#broken) throw new Error('the spool did not take the body')
    await this.part?.close()
  }

  /** Stops and keeps the part. Resolves to what it holds, or null if nothing is in a part. */
  async keep(): Promise<BodyCheckpoint | null> {
    this.#resume = null
    while (this.#writing !== null) await this.#writing
    if (this.#broken || this.#written === null) return null
    await this.part?.close()
    return this.#written
  }

  /** Replaces the body by its deflated form. That is not larger, so it stays within the reservation. */
  replaceMemory(bytes: Buffer): void {
    this.memory = [bytes]
    this.#releaseLeases()
  }

  /** Releases the memory, once the bytes are elsewhere or not needed. */
  releaseMemory(): void {
    this.memory = []
    // If the body goes to a part, the leases belong to the queue.
    if (!this.#toPart) this.#releaseLeases()
    this.#releaseReservation()
  }

  async discard(): Promise<void> {
    this.#isDropped = true
    this.#resume = null
    this.releaseMemory()
    this.#dropQueue()
    // The batch that is being written has its own leases, and releases them itself.
    while (this.#writing !== null) await this.#writing
    await this.part?.discard()
  }

  #releaseReservation(): void {
    this.#options.staging.release(this.#reservedBytes)
    this.#reservedBytes = 0
  }

  #dropQueue(): void {
    this.#queue = []
    this.#releaseLeases()
  }

  #releaseLeases(): void {
    releaseAll(this.#leases.splice(0))
  }

  #reserve(bytes: number): boolean {
    if (!this.#options.staging.tryReserve(bytes)) return false
    this.#reservedBytes += bytes
    return true
  }

  #fitsInMemory(): boolean {
    if (this.sizeBytes <= this.#reservedBytes) return true
    return this.sizeBytes <= SMALL_BODY_BYTES && this.#reserve(this.sizeBytes - this.#reservedBytes)
  }

  #startDrain(): void {
    // `finally` clears `#writing` in a later turn, because a drain with nothing to do ends before the assignment.
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = null
      if (this.#queue.length > 0) this.#startDrain()
    })
  }

  async #drain(): Promise<void> {
    try {
      this.part ??= await this.#options.spool.createPart()
      while (this.#queue.length > 0) {
        const batch = this.#queue
        const batchBytes = this.#queuedBytes
        const leases = this.#leases
        const after = { file: this.part.file, receivedBytes: this.sizeBytes, crc32: this.crc32 }
        this.#queue = []
        this.#leases = []
        // The packer's block belongs to the batch now, so nothing more may be copied into it.
        this.#packer = null
        try {
          await this.part.write(batch)
        } finally {
          releaseAll(leases)
        }
        this.#queuedBytes -= batchBytes
        this.#written = after
        // A dropped body must not be reported, because its entry has failed or was started again.
        if (!this.#isDropped && after.receivedBytes - this.#reportedBytes >= CHECKPOINT_BYTES) {
          this.#reportedBytes = after.receivedBytes
          this.#options.grown?.(after)
        }
        const resume = this.#resume
        if (resume === null || this.#queuedBytes >= PART_QUEUE_BYTES) continue
        this.#resume = null
        resume()
      }
    } catch (error) {
      this.#broken = true
      this.#dropQueue()
      this.#options.spoolFailed(error)
    }
  }
}
