// Sockets that read into pooled slabs instead of fresh memory for every read. Knows when a slab may be reused; parses no HTTP.
import type { Socket } from 'node:net'
import { buildConnector } from 'undici'
import { type Block, createBlockPool, type Lease } from '../lib/blocks.ts'

const KiB = 1024
const MiB = 1024 * KiB

/**
 * The first window of a connection, and every one while all slabs are out, is ordinary memory: a connection that brought
 * one small file, and now idles, costs this and no slab.
 */
const LOOSE_BYTES = 64 * KiB
/** Full slabs that wait for their proof. Only thousands of interim responses without a body fill so many. */
const MAX_UNPROVEN = 8

export interface SlabPoolOptions {
  /** @default 256 KiB */
  slabBytes?: number
  /** Slabs in use and free ones together; beyond it sockets read into ordinary memory. @default 96 MiB */
  maxBytes?: number
  /** Slabs that nobody needed for this long are left to the garbage collector. @default 2000 */
  idleMs?: number
}

export interface SlabPool extends Disposable {
  /** Slabs that a socket or a lease holds; 0 when all is quiet. */
  readonly live: number
  readonly free: number
  /** Slabs of which it was never proven that they were parsed: left to the garbage collector. */
  readonly orphans: number
  /**
   * Keeps the memory below `chunk` until the lease is released; null for ordinary memory, which keeps itself. To be asked
   * for EVERY body chunk as it is delivered, also one that is thrown away: that is what the reuse of older slabs rests on.
   */
  hold(chunk: Buffer): Lease | null
  /** Opens a socket for HTTP/1.1; `options` are those of undici's connector. */
  connect(options: buildConnector.BuildOptions, target: buildConnector.Options, callback: buildConnector.Callback): void
}

/** A block, referred to by the connection that fills it and by each lease. */
interface Slab extends Block {
  /** Told of the chunks held, until the slab is proven to be parsed. */
  reader: Reader | null
}

export function createSlabPool({ slabBytes = 256 * KiB, maxBytes = 96 * MiB, idleMs }: SlabPoolOptions = {}) {
  /** A body chunk is a view of the memory that was pushed: so it finds its slab. */
  const slabOf = new WeakMap<ArrayBufferLike, Slab>()
  const dropped = ({ memory }: Block) => void slabOf.delete(memory.buffer)
  const blocks = createBlockPool({ blockBytes: slabBytes, maxBytes, idleMs, dropped })
  let orphans = 0

  function take(): Slab | null {
    const block = blocks.take()
    if (block === null) return null
    // undici sees the memory alone, so what a slab has besides its block is found by that.
    const slab = Object.assign(block, { reader: null })
    slabOf.set(block.memory.buffer, slab)
    return slab
  }

  /** Its connection's reference is never given back, so nothing can bring it into the pool again. */
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
      // undici's types know neither what it hands on to Node, nor that it answers the socket.
      const more = {
        allowH2: false,
        // With less, every slice would fill it, and reading be stopped and started for each.
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
 * The read side of one connection. It keeps a full slab until a body chunk of a NEWER one is held: bytes are parsed in
 * order, so nobody inside undici looks at the older one any more. A slab that is merely full may still be needed: bytes wait
 * in the socket's buffer while the body is paused, and undici keeps views of header fields until the last of them is there.
 */
class Reader {
  readonly #pool: SlabMemory
  #socket: Socket | null = null
  /** What is read into; of `#slab`, if that is not null. */
  #memory: Buffer | null = null
  #slab: Slab | null = null
  #filled = 0
  /** Of `#filled`: handed to the socket's buffer. */
  #passed = 0
  /** Full, oldest first, and not proven to be parsed. */
  #full: Slab[] = []
  #passing: NodeJS.Immediate | null = null
  #isClosed = false

  constructor(pool: SlabMemory) {
    this.#pool = pool
  }

  serve(socket: Socket, isTls: boolean): void {
    this.#socket = socket
    if (isTls) {
      // The end must not overtake what was gathered.
      const push = socket.push
      socket.push = (chunk, encoding) => {
        if (chunk === null) this.#pass()
        return push.call(socket, chunk, encoding)
      }
    }
    // undici parses what is left in its own listener of this event: the slabs stay for one more turn.
    socket.once('close', () => setImmediate(() => this.close()))
  }

  /** Where the next bytes go. */
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

  /** False: the socket holds enough; it reads on once undici has taken that. */
  pass(bytes: number): boolean {
    this.#filled += bytes
    return this.#pass()
  }

  /**
   * TLS delivers its records of 16 KiB one by one. They lie side by side, so those that one poll brought are passed as one
   * slice. A connection reset in the same poll drops them, even where they would have ended the body: a retry covers that.
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

  /** A body chunk of `slab` was delivered: whatever was filled before is parsed. */
  proven(slab: Slab): void {
    while (this.#full.length > 0 && this.#full[0] !== slab) this.#drop(this.#full.shift()!)
  }

  #drop(slab: Slab): void {
    // A later chunk of the same slab proves nothing new, and the slab may have another reader by then.
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
