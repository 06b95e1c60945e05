// Downloads an archive's bytes into a sink, and continues after every cut. Owns the requests; knows no file or format.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Dispatcher, request } from 'undici'
import { backoffMs } from '#contracts/client/reconnect.ts'
import { judge, type Position, requestHeaders, START, type Verdict } from './resume.ts'

/** Takes the bytes of a download. */
export interface ByteSink {
  /** Resolves when more may come. The chunk belongs to the sink. */
  write(chunk: Uint8Array): Promise<void>
  /** Drops all bytes that were written. Rejects if that is not possible. */
  startOver(): Promise<void>
}

export interface DownloadProgress {
  receivedBytes: number
  /** Null while the archive grows. */
  totalBytes: number | null
}

export interface DownloadOptions {
  signal?: AbortSignal
  onProgress?: (progress: DownloadProgress) => void
  /** The download fails after this time without a byte. @default 60_000 */
  giveUpAfterMs?: number
  /** A connection counts as dead after this time without a byte, and another one is made. @default 30_000 */
  idleTimeoutMs?: number
  /** Called when it is time to give up. True if the archive is known to be growing, so that its bytes may take long. */
  isGrowing?: () => boolean
}

export interface Downloaded {
  sizeBytes: number
  etag: string | null
}

export type DownloadFailure =
  /** The server does not have the archive, or no longer has it. */
  | 'MISSING'
  /** The server gave an answer that a sheaf server should not give. */
  | 'REFUSED'
  /** No byte came for too long. */
  | 'GAVE_UP'
  /** The archive changed after bytes were written that cannot be taken back, or it changed too often. */
  | 'CHANGED'
  /** All bytes are here, but they are not a whole archive. */
  | 'CORRUPT'
  /** The bytes could not be written here. */
  | 'NOT_WRITTEN'

export class DownloadError extends Error {
  override readonly name = 'DownloadError'
  readonly code: DownloadFailure

  constructor(code: DownloadFailure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** A server that lets no download continue must not keep a client busy for ever. */
const MAX_STARTS_OVER = 10

/** Resolves once the last byte is in the sink. The message's framing proves the end; a closed connection does not. */
export async function download(
  url: string,
  sink: ByteSink,
  dispatcher: Dispatcher,
  { signal, onProgress, giveUpAfterMs = 60_000, idleTimeoutMs = 30_000, isGrowing = () => false }: DownloadOptions = {},
): Promise<Downloaded> {
  let position = START
  let startsOver = 0
  let fruitless = 0
  let lastByteAt = performance.now()

  const forget = async () => {
    if (++startsOver > MAX_STARTS_OVER) throw new DownloadError('CHANGED', 'the archive changed again and again')
    await toSink(sink.startOver())
  }
  const receive = async (body: AsyncIterable<Uint8Array>, verdict: Verdict & { kind: 'body' }) => {
    if (verdict.startsOver) await forget()
    position = verdict.position
    for await (const chunk of body) {
      const { receivedBytes, totalBytes } = position
      if (totalBytes !== null && receivedBytes + chunk.length > totalBytes) {
        throw new DownloadError('CORRUPT', `the server sends more than the ${totalBytes} bytes that the archive has`)
      }
      await toSink(sink.write(chunk))
      position = { ...position, receivedBytes: position.receivedBytes + chunk.length }
      lastByteAt = performance.now()
      fruitless = 0
      onProgress?.({ receivedBytes: position.receivedBytes, totalBytes: position.totalBytes })
    }
  }

  for (;;) {
    signal?.throwIfAborted()
    let retryAfterMs = 0
    let trouble: Error
    try {
      const answer = await request(url, {
        dispatcher,
        signal,
        headers: { ...requestHeaders(position), 'accept-encoding': 'identity' },
        headersTimeout: idleTimeoutMs,
        bodyTimeout: idleTimeoutMs,
        highWaterMark: 512 * 1024,
      })
      const verdict = judge(position, answer.statusCode, answer.headers, Date.now())
      if (verdict.kind === 'body') {
        await receive(answer.body, verdict)
        if (verdict.endProven && isComplete(position)) return downloaded(position)
        trouble = new Error('the answer ended before the archive did')
      } else {
        await answer.body.dump({ limit: 16 * 1024, signal }).catch(() => {})
        if (verdict.kind === 'whole') return downloaded(position)
        if (verdict.kind === 'refused') {
          throw new DownloadError(verdict.missing ? 'MISSING' : 'REFUSED', verdict.reason)
        }
        if (verdict.position.receivedBytes < position.receivedBytes) await forget()
        position = verdict.position
        retryAfterMs = verdict.retryAfterMs
        trouble = new Error(verdict.reason)
      }
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof DownloadError) throw error
      trouble = error instanceof Error ? error : new Error(String(error))
    }
    const waitMs = Math.max(backoffMs(fruitless++), retryAfterMs)
    const silentMs = performance.now() - lastByteAt
    if (silentMs + waitMs > giveUpAfterMs && !isGrowing()) {
      throw new DownloadError('GAVE_UP', `no byte for ${Math.round(silentMs / 1000)} s: ${trouble.message}`, {
        cause: trouble,
      })
    }
    await sleep(Math.min(waitMs, giveUpAfterMs), undefined, { signal })
  }
}

function isComplete({ receivedBytes, totalBytes }: Position): boolean {
  return totalBytes === null || receivedBytes === totalBytes
}

function downloaded({ receivedBytes, etag }: Position): Downloaded {
  return { sizeBytes: receivedBytes, etag }
}

/** Makes a failed write a DownloadError, because asking the server again does not help if the disk is full. */
async function toSink(done: Promise<void>): Promise<void> {
  try {
    await done
  } catch (cause) {
    if (cause instanceof DownloadError) throw cause
    throw new DownloadError('NOT_WRITTEN', cause instanceof Error ? cause.message : String(cause), { cause })
  }
}
