// Deflates bodies (RFC 1951) in memory or as streams, in turns of clients, and returns their size and CRC. Knows no files.
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { createDeflateRaw, deflateRaw } from 'node:zlib'
import { crc32 } from '../lib/crc32.ts'
import { createRota } from '../lib/rota.ts'

export interface Deflated {
  readonly sizeBytes: number
  /** CRC of the deflated bytes. */
  readonly crc32: number
}

/** Says who deflates. Clients take turns, and so do the archives of each client. */
export interface Turn {
  readonly client: string
  readonly archive: string
  /** Ends the wait for the turn when it aborts. */
  readonly signal: AbortSignal
}

export interface Deflater {
  /** Deflates the chunks into one buffer. Null if that is not smaller. Rejects if the signal aborts during the wait. */
  inMemory(chunks: readonly Uint8Array[], turn: Turn): Promise<(Deflated & { readonly bytes: Buffer }) | null>
  /** Deflates the source and writes it. Each piece takes its own turn, so that a large body does not delay others. */
  streaming(
    source: AsyncIterable<Uint8Array>,
    write: (buffers: readonly Uint8Array[]) => Promise<void>,
    turn: Turn,
  ): Promise<Deflated>
}

/** The default of zlib. Higher levels take much more time and gain little. */
const LEVEL = 6
const CHUNK_BYTES = 256 * 1024

const deflateAll = promisify(deflateRaw)

/**
 * @param maxAtATime how many bodies are deflated at once. Each one holds one of the four threads for reading and writing files.
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

  /** Holds a turn for each piece. The pipeline asks for the next piece once this one is deflated and written. */
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
