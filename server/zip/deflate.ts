// Deflates bodies (RFC 1951), in memory or as they stream by, and tells what they come to. Knows neither archives nor files.
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { crc32, createDeflateRaw, deflateRaw } from 'node:zlib'

export interface Deflated {
  readonly sizeBytes: number
  /** Of the deflated bytes. */
  readonly crc32: number
}

export interface Deflater {
  /** The chunks as one deflated buffer; null where that would be no smaller. Rejects where `signal` aborts the wait for it. */
  inMemory(chunks: readonly Uint8Array[], signal: AbortSignal): Promise<(Deflated & { readonly bytes: Buffer }) | null>
  /** Writes the deflated source, a piece at a time. */
  streaming(
    source: AsyncIterable<Uint8Array>,
    write: (buffers: readonly Uint8Array[]) => Promise<void>,
    signal: AbortSignal,
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
  const waiting = new Set<() => void>()

  /** Another archive's film may have the turn for minutes: whoever is ended meanwhile does not wait for that. */
  function takeTurn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiting.delete(begin)
        reject(signal.reason)
      }
      const begin = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      waiting.add(begin)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  async function inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    if (running === maxAtATime) await takeTurn(signal)
    else running++
    try {
      return await work()
    } finally {
      const [next] = waiting
      if (next === undefined) running--
      else {
        waiting.delete(next)
        next()
      }
    }
  }

  return {
    inMemory: (chunks, signal) =>
      inTurn(signal, async () => {
        const body = Buffer.concat(chunks)
        const bytes = await deflateAll(body, { level: LEVEL })
        return bytes.length < body.length ? { bytes, sizeBytes: bytes.length, crc32: crc32(bytes) } : null
      }),
    streaming: (source, write, signal) =>
      inTurn(signal, async () => {
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
        await pipeline(source, deflating, written, { signal })
        return { sizeBytes, crc32: crc }
      }),
  }
}
