// Deflates bodies (RFC 1951), in memory or as they stream by, in turns of clients, and tells what they come to. Knows no files.
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { createDeflateRaw, deflateRaw } from 'node:zlib'
import { crc32 } from '../lib/crc32.ts'
import { createRota } from '../lib/rota.ts'

export interface Deflated {
  readonly sizeBytes: number
  /** Of the deflated bytes. */
  readonly crc32: number
}

/** Whose turn it takes: clients take turns, and so do the archives of each. */
export interface Turn {
  readonly client: string
  readonly archive: string
  /** Whoever is ended meanwhile does not wait for it. */
  readonly signal: AbortSignal
}

export interface Deflater {
  /** The chunks as one deflated buffer; null if that would be no smaller. Rejects if the wait for it is aborted. */
  inMemory(chunks: readonly Uint8Array[], turn: Turn): Promise<(Deflated & { readonly bytes: Buffer }) | null>
  /** Writes the deflated source, a piece at a time: each piece has a turn of its own, so that a film takes nobody else's. */
  streaming(
    source: AsyncIterable<Uint8Array>,
    write: (buffers: readonly Uint8Array[]) => Promise<void>,
    turn: Turn,
  ): Promise<Deflated>
}

/** zlib's own default: the higher levels cost much and gain little. */
const LEVEL = 6
const CHUNK_BYTES = 256 * 1024

const deflateAll = promisify(deflateRaw)

/**
 * @param maxAtATime each holds one of the four threads that files are read and written on, too
 */
export function createDeflater({ maxAtATime = 2 } = {}): Deflater {
  let running = 0
  const waiting = createRota<() => void>()

  function wait({ client, archive, signal }: Turn): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiting.remove(client, archive, begin)
        reject(signal.reason)
      }
      const begin = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      waiting.add(client, archive, begin)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  async function take(turn: Turn): Promise<Disposable> {
    turn.signal.throwIfAborted()
    if (running === maxAtATime) await wait(turn)
    else running++
    return {
      [Symbol.dispose]() {
        const begin = waiting.next()
        if (begin === undefined) running--
        else begin()
      },
    }
  }

  /** The next piece is asked for once this one has been deflated and written. */
  async function* inTurns(source: AsyncIterable<Uint8Array>, turn: Turn): AsyncGenerator<Uint8Array> {
    for await (const piece of source) {
      using _ = await take(turn)
      yield piece
    }
  }

  return {
    async inMemory(chunks, turn) {
      using _ = await take(turn)
      const body = Buffer.concat(chunks)
      const bytes = await deflateAll(body, { level: LEVEL })
      return bytes.length < body.length ? { bytes, sizeBytes: bytes.length, crc32: crc32(bytes) } : null
    },
    async streaming(source, write, turn) {
      let sizeBytes = 0
      let crc = 0
      const deflating = createDeflateRaw({ level: LEVEL, chunkSize: CHUNK_BYTES })
      const written = async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) {
          sizeBytes += chunk.length
          crc = crc32(chunk, crc)
          await write([chunk])
        }
      }
      await pipeline(inTurns(source, turn), deflating, written, { signal: turn.signal })
      return { sizeBytes, crc32: crc }
    },
  }
}
