// Holds bodies until they are whole: small ones in memory within one budget, all others in parts of the spool.
import { crc32 } from 'node:zlib'
import type { PartWriter, SpoolWriter } from '../ports/spool.ts'

/** The process-wide budget of bytes staged in memory. */
export interface StagingBudget {
  readonly usedBytes: number
  tryReserve(bytes: number): boolean
  release(bytes: number): void
}

export function createStagingBudget(maxBytes: number): StagingBudget {
  let usedBytes = 0
  return {
    get usedBytes() {
      return usedBytes
    },
    tryReserve(bytes) {
      if (usedBytes + bytes > maxBytes) return false
      usedBytes += bytes
      return true
    },
    release(bytes) {
      usedBytes -= bytes
    },
  }
}

/** Bodies up to this may wait in memory; larger ones would crowd out many others. */
export const SMALL_BODY_BYTES = 2 * 1024 * 1024
/** A part's queue: above this the origin is paused until the disk has caught up. */
const PART_QUEUE_BYTES = 1024 * 1024

export interface StagedBodyOptions {
  spool: SpoolWriter
  budget: StagingBudget
  /** The spool failed; the archive cannot go on. */
  failed: (error: unknown) => void
  /** So much lies in the part now; called now and then while a large body grows. */
  grown?: (checkpoint: BodyCheckpoint) => void
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
  #reservedBytes = 0
  #toPart = false
  /** For the part; `queuedBytes` counts the batch being written too. */
  #queue: Buffer[] = []
  #queuedBytes = 0
  #writing: Promise<void> | null = null
  #broken = false
  #resume: (() => void) | null = null
  /** What the part holds. */
  #written: BodyCheckpoint | null = null
  #toldBytes = 0

  /** `announcedBytes` is what the origin says its size is; null if it does not. */
  constructor(announcedBytes: number | null, options: StagedBodyOptions) {
    this.#options = options
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

  write(chunk: Buffer): boolean {
    this.sizeBytes += chunk.length
    this.crc32 = crc32(chunk, this.crc32)
    if (!this.#toPart && this.#fitsInMemory()) {
      this.memory.push(chunk)
      return true
    }
    if (!this.#toPart) {
      this.#toPart = true
      for (const earlier of this.memory) this.#enqueue(earlier)
      this.releaseMemory()
    }
    this.#enqueue(chunk)
    return this.#queuedBytes < PART_QUEUE_BYTES
  }

  whenReady(resume: () => void): void {
    if (this.#queuedBytes < PART_QUEUE_BYTES) resume()
    else this.#resume = resume
  }

  /** Resolves once everything written is in the part; at once for a body in memory. Rejects where the spool failed. */
  async whole(): Promise<void> {
    // An empty body that was announced as a part has none yet. With nothing to do, `#drain` would be over before it is noted.
    if (this.#toPart && this.part === null && !this.#broken) this.#writing ??= this.#drain()
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

  /** Once its bytes are elsewhere. */
  releaseMemory(): void {
    this.memory = []
    this.#options.budget.release(this.#reservedBytes)
    this.#reservedBytes = 0
  }

  async discard(): Promise<void> {
    this.#queue = []
    this.#resume = null
    this.releaseMemory()
    while (this.#writing !== null) await this.#writing
    await this.part?.discard()
  }

  #reserve(bytes: number): boolean {
    if (!this.#options.budget.tryReserve(bytes)) return false
    this.#reservedBytes += bytes
    return true
  }

  #fitsInMemory(): boolean {
    if (this.sizeBytes <= this.#reservedBytes) return true
    return this.sizeBytes <= SMALL_BODY_BYTES && this.#reserve(this.sizeBytes - this.#reservedBytes)
  }

  #enqueue(chunk: Buffer): void {
    this.#queue.push(chunk)
    this.#queuedBytes += chunk.length
    this.#writing ??= this.#drain()
  }

  async #drain(): Promise<void> {
    try {
      this.part ??= await this.#options.spool.createPart()
      while (this.#queue.length > 0) {
        const batch = this.#queue
        const batchBytes = this.#queuedBytes
        const after = { file: this.part.file, receivedBytes: this.sizeBytes, crc32: this.crc32 }
        this.#queue = []
        await this.part.write(batch)
        this.#queuedBytes -= batchBytes
        this.#written = after
        if (after.receivedBytes - this.#toldBytes >= CHECKPOINT_BYTES) {
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
      this.#options.failed(error)
    } finally {
      this.#writing = null
    }
  }
}
