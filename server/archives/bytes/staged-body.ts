// Holds bodies until they are whole: small ones in memory within one budget, all others in parts of the spool.
import { type Lease, releaseAll } from '../../lib/blocks.ts'
import { crc32 } from '../../lib/crc32.ts'
import type { PartWriter, SpoolWriter } from '../../ports/spool.ts'
import { ChunkPacker } from './chunk-packer.ts'
import type { StagingMemory } from './staging-memory.ts'

/** Bodies up to this may wait in memory; larger ones would crowd out many others. */
export const SMALL_BODY_BYTES = 2 * 1024 * 1024
/** A part's queue: above this the origin is paused until the disk has caught up. */
const PART_QUEUE_BYTES = 1024 * 1024

/**
 * A chunk is a view into a larger buffer and keeps all of it alive. It is copied if that would pin much more than it uses:
 * any chunk below 4 KiB, chunks without a lease that fill less than half of their buffer, and chunks with a lease of bodies
 * below 32 KiB. What is pinned is bounded: memory with leases by the pool it comes from, other memory by twice what the
 * staging budget and the queues of parts count.
 */
const COPIED_BODY_BYTES = 32 * 1024
const COPIED_CHUNK_BYTES = 4 * 1024
/** Memory taken at a time for the small chunks of a larger body. */
const COPIED_BLOCK_BYTES = 8 * 1024

export interface StagedBodyOptions {
  readonly spool: SpoolWriter
  readonly staging: StagingMemory
  /** The archive cannot go on. */
  spoolFailed(error: unknown): void
  /** So much lies in the part now; called now and then while a large body grows. */
  grown?(checkpoint: BodyCheckpoint): void
}

export interface BodyCheckpoint {
  readonly file: string
  readonly receivedBytes: number
  /** Of these bytes. */
  readonly crc32: number
}

/** So much of a large body may have to be fetched again after a crash. */
const CHECKPOINT_BYTES = 16 * 1024 * 1024

/** One body under way, used once. Either `memory` or `part` holds it. */
export class StagedBody {
  readonly #options: StagedBodyOptions
  sizeBytes = 0
  crc32 = 0
  memory: Buffer[] = []
  part: PartWriter | null = null
  readonly #announcedBytes: number
  /** Of `memory`, later of what waits for the part; never of both. */
  #leases: Lease[] = []
  #packer: ChunkPacker | null = null
  #reservedBytes = 0
  #toPart = false
  /** For the part; `queuedBytes` counts the batch being written too. */
  #queue: Buffer[] = []
  #queuedBytes = 0
  #writing: Promise<void> | null = null
  #broken = false
  #isDropped = false
  #resume: (() => void) | null = null
  /** What the part holds. */
  #written: BodyCheckpoint | null = null
  #toldBytes = 0

  /** `announcedBytes` is what the origin says its size is; null if it does not. */
  constructor(announcedBytes: number | null, options: StagedBodyOptions) {
    this.#options = options
    this.#announcedBytes = announcedBytes ?? 0
    if (announcedBytes !== null) this.#toPart = announcedBytes > SMALL_BODY_BYTES || !this.#reserve(announcedBytes)
  }

  /** Goes on with a part that holds these bytes already. */
  static continued(part: PartWriter, written: BodyCheckpoint, options: StagedBodyOptions): StagedBody {
    const body = new StagedBody(Number.POSITIVE_INFINITY, options)
    body.part = part
    body.sizeBytes = body.#toldBytes = written.receivedBytes
    body.crc32 = written.crc32
    body.#written = written
    return body
  }

  get isInPart(): boolean {
    return this.#toPart
  }

  /** Takes the lease over: it is released once the bytes are copied, in the part, or not wanted any more. */
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

  /** How much memory to take: this chunk and what will likely follow. Without a Content-Length the body is assumed to double. */
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
    this.#giveBack()
  }

  whenReady(resume: () => void): void {
    if (this.#queuedBytes < PART_QUEUE_BYTES) resume()
    else this.#resume = resume
  }

  /** Resolves once everything written is in the part; at once for a body in memory. Rejects if the spool failed. */
  async whole(): Promise<void> {
    // An empty body that was announced as a part has none yet.
    if (this.#toPart && this.part === null && !this.#broken) this.#startDrain()
    while (this.#writing !== null) await this.#writing
    if (this.#broken) throw new Error('the spool did not take the body')
    await this.part?.close()
  }

  /** Stops here and keeps the part; answers what it holds, null for a body in memory or with nothing written. */
  async keep(): Promise<BodyCheckpoint | null> {
    this.#resume = null
    while (this.#writing !== null) await this.#writing
    if (this.#broken || this.#written === null) return null
    await this.part?.close()
    return this.#written
  }

  /** The same body in another form, of no more bytes: it stays within what was reserved. */
  replaceMemory(bytes: Buffer): void {
    this.memory = [bytes]
    this.#releaseLeases()
  }

  /** Once its bytes are elsewhere. */
  releaseMemory(): void {
    this.memory = []
    // Those of a body on its way to its part belong to the queue.
    if (!this.#toPart) this.#releaseLeases()
    this.#giveBack()
  }

  async discard(): Promise<void> {
    this.#isDropped = true
    this.#resume = null
    this.releaseMemory()
    this.#dropQueue()
    // The batch that is being written keeps its own leases until it is.
    while (this.#writing !== null) await this.#writing
    await this.part?.discard()
  }

  #giveBack(): void {
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
    // Noted as over in a turn of its own: a drain with nothing to do is over before it could be noted as begun.
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
        // Its memory goes with the batch: nothing more is copied into it.
        this.#packer = null
        try {
          await this.part.write(batch)
        } finally {
          releaseAll(leases)
        }
        this.#queuedBytes -= batchBytes
        this.#written = after
        // Of one that is not wanted any more, nothing may be told: its entry has failed by now, or began anew.
        if (!this.#isDropped && after.receivedBytes - this.#toldBytes >= CHECKPOINT_BYTES) {
          this.#toldBytes = after.receivedBytes
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
