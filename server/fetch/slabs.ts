// Sockets that read into pooled slabs instead of new memory. Decides when a slab may be reused. Parses no HTTP.
// Plain sockets take 1.5 times the CPU time at W1, 1.3 times at W5 and as much as these at W2
// (`npm run bench -- W1 W2 W5 --rounds 7 --env SHEAF_POOLED_SOCKETS=false`).
import type { Socket } from 'node:net'
import { buildConnector } from 'undici'
import { type Block, createBlockPool, type Lease } from '../lib/blocks.ts'

const KiB = 1024
const MiB = 1024 * KiB

/**
 * The first buffer of a connection is ordinary memory of this size, and so is every buffer while all slabs are in use.
 * So an idle connection that brought one small file holds no slab.
 */
const LOOSE_BYTES = 64 * KiB
/**
 * Full slabs of one connection that are not yet proven to be parsed. Only thousands of interim responses without a body
 * fill more than this.
 */
const MAX_UNPROVEN = 8

export interface SlabPoolOptions {
  /** @default 256 KiB */
  slabBytes?: number
  /** All slabs, in use or free. Beyond this, sockets read into ordinary memory. @default 96 MiB */
  maxBytes?: number
  /** Slabs that were not needed for this long are left to the garbage collector. @default 2000 */
  idleMs?: number
}

export interface SlabPool extends Disposable {
  /** Slabs that a socket or a lease holds; 0 if nothing is under way. */
  readonly live: number
  readonly free: number
  /** Slabs that were never proven to be parsed, and so were left to the garbage collector. */
  readonly orphans: number
  /**
   * Keeps the slab of `chunk` until the lease is released. Null means ordinary memory, which needs no lease. Must be
   * called for EVERY body chunk as it is delivered, even for one that is thrown away, because it proves that older
   * slabs are parsed.
   */
  hold(chunk: Buffer): Lease | null
  /** Opens a socket for HTTP/1.1. The `options` are those of undici's connector. */
  connect(options: buildConnector.BuildOptions, target: buildConnector.Options, callback: buildConnector.Callback): void
}

/** A block that is referenced by the connection that fills it and by each lease. */
interface Slab extends Block {
  /** The reader that filled the slab, to be notified of held chunks; null once the slab is proven to be parsed. */
  reader: Reader | null
}

export function createSlabPool({ slabBytes = 256 * KiB, maxBytes = 96 * MiB, idleMs }: SlabPoolOptions = {}) {
  /** Slabs by their memory. A body chunk is a view of that memory, so its slab can be found. */
  const slabOf = new WeakMap<ArrayBufferLike, Slab>()
  const dropped = ({ memory }: Block) => void slabOf.delete(memory.buffer)
  const blocks = createBlockPool({ blockBytes: slabBytes, maxBytes, idleMs, dropped })
  let orphans = 0

  function take(): Slab | null {
    const block = blocks.take()
    if (block === null) return null
    // undici passes on only the memory, so the slab is looked up by it.
    const slab = Object.assign(block, { reader: null })
    slabOf.set(block.memory.buffer, slab)
    return slab
  }

  /**
   * Leaves a slab to the garbage collector. The connection never returns its reference, so the slab cannot be reused.
   */
  function orphan(slab: Slab): void {
    slabOf.delete(slab.memory.buffer)
    slab.reader = null
    orphans++
    blocks.orphan(slab)
  }

  const memory: SlabMemory = { take, orphan, release: (slab) => blocks.release(slab) }
  const pool: SlabPool = {
    get live() {
      return blocks.live
    },
    get free() {
      return blocks.free
    },
    get orphans() {
      return orphans
    },
    hold(chunk) {
      const slab = slabOf.get(chunk.buffer)
      if (slab === undefined) return null
      const lease = blocks.hold(slab)
      slab.reader?.proven(slab)
      return lease
    },
    connect(options, target, callback) {
      const reader = new Reader(memory)
      const isTls = target.protocol === 'https:'
      // undici's types miss the options that it passes on to Node, and the socket that the connector returns.
      const more = {
        allowH2: false,
        // If this were smaller, every slice would fill it, and reading would stop and start for each slice.
        highWaterMark: slabBytes + 1,
        onread: {
          buffer: () => reader.window(),
          callback: (bytes: number) => (isTls ? reader.gather(bytes, slabBytes) : reader.pass(bytes)),
        },
      }
      try {
        reader.serve(buildConnector({ ...options, ...more })(target, callback) as unknown as Socket, isTls)
      } catch (error) {
        reader.close()
        throw error
      }
    },
    [Symbol.dispose]: () => blocks[Symbol.dispose](),
  }
  return pool
}

interface SlabMemory {
  take(): Slab | null
  release(slab: Slab): void
  orphan(slab: Slab): void
}

/**
 * The read side of one connection. It keeps a full slab until a body chunk of a NEWER slab is held. Bytes are parsed in
 * order, so undici no longer reads the older slab then. Being full is not enough for reuse. While a body is paused,
 * bytes wait in the socket's buffer, and undici keeps views of header fields until it has the last of them.
 */
class Reader {
  readonly #pool: SlabMemory
  #socket: Socket | null = null
  /** The buffer that is read into. It is that of `#slab`, unless `#slab` is null. */
  #memory: Buffer | null = null
  #slab: Slab | null = null
  #filled = 0
  /** How many of the `#filled` bytes were pushed to the socket's buffer. */
  #passed = 0
  /** Full slabs that are not proven to be parsed, oldest first. */
  #full: Slab[] = []
  #passing: NodeJS.Immediate | null = null
  #isClosed = false

  constructor(pool: SlabMemory) {
    this.#pool = pool
  }

  serve(socket: Socket, isTls: boolean): void {
    this.#socket = socket
    if (isTls) {
      // Gathered bytes must be pushed before the end.
      const push = socket.push
      socket.push = (chunk, encoding) => {
        if (chunk === null) this.#pass()
        return push.call(socket, chunk, encoding)
      }
    }
    // undici's own listener of this event parses what is left, so the slabs stay for one more turn of the loop.
    socket.once('close', () => setImmediate(() => this.close()))
  }

  /** The memory that the next bytes are read into. */
  window(): Uint8Array {
    if (this.#memory === null || this.#memory.length - this.#filled < this.#memory.length / 4) this.#turn()
    return this.#memory!.subarray(this.#filled)
  }

  #turn(): void {
    this.#pass()
    if (this.#slab !== null) {
      this.#full.push(this.#slab)
      if (this.#full.length > MAX_UNPROVEN) this.#pool.orphan(this.#full.shift()!)
    }
    const isFirst = this.#memory === null
    this.#slab = isFirst || this.#isClosed ? null : this.#pool.take()
    if (this.#slab !== null) this.#slab.reader = this
    this.#memory = this.#slab?.memory ?? Buffer.allocUnsafeSlow(LOOSE_BYTES)
    this.#filled = this.#passed = 0
  }

  /** False if the socket holds enough. It then reads on after undici has taken that. */
  pass(bytes: number): boolean {
    this.#filled += bytes
    return this.#pass()
  }

  /**
   * TLS delivers its records of 16 KiB one by one. They lie side by side, so all records of one poll are passed as one
   * slice. One by one they take 1.2 times the CPU time (`npm run bench -- W6 --rounds 7`). If the connection is reset in
   * the same poll, they are lost, even if they would have ended the body. A retry covers that.
   */
  gather(bytes: number, maxBytes: number): boolean {
    this.#filled += bytes
    this.#passing ??= setImmediate(() => this.#pass())
    return this.#socket!.readableLength < maxBytes
  }

  #pass(): boolean {
    if (this.#passing !== null) clearImmediate(this.#passing)
    this.#passing = null
    if (this.#memory === null || this.#passed === this.#filled) return true
    const slice = this.#memory.subarray(this.#passed, this.#filled)
    this.#passed = this.#filled
    return this.#socket!.destroyed || this.#socket!.push(slice)
  }

  /** A body chunk of `slab` was delivered, so all slabs that were filled before it are parsed. */
  proven(slab: Slab): void {
    while (this.#full.length > 0 && this.#full[0] !== slab) this.#drop(this.#full.shift()!)
  }

  #drop(slab: Slab): void {
    // A later chunk of this slab proves nothing new, and the slab may have another reader by then.
    slab.reader = null
    this.#pool.release(slab)
  }

  close(): void {
    this.#isClosed = true
    if (this.#passing !== null) clearImmediate(this.#passing)
    this.#passing = null
    for (const slab of this.#full.splice(0)) this.#drop(slab)
    if (this.#slab !== null) this.#drop(this.#slab)
    this.#slab = null
    this.#memory = null
  }
}
