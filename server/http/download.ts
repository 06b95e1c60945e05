// Serves an archive's bytes: whole, in ranges, or as it grows. Only a whole response ends cleanly; any other is reset.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { create as contentDisposition } from 'content-disposition'
import type { ArchiveFormat } from '#contracts/archive.ts'
import { firstValue } from '#contracts/formats/http.ts'
import type { ArchiveReading } from '../archives/views/reading.ts'
import type { BlockPool } from '../lib/blocks.ts'
import { describe, type Log } from '../lib/log.ts'
import { createOutgoing } from './outgoing.ts'
import { createPace } from './pace.ts'
import { FOLLOW, followFrom, ifMatchHolds, ifNoneMatchHits, ifRangeHolds, selectRange } from './range.ts'

export interface DownloadOptions {
  openReading(address: string): Promise<ArchiveReading | null>
  /** Bytes are read into these on their way out. */
  blocks: BlockPool
  log: Log
  /** A client that takes nothing for this long is cut off. */
  idleTimeoutMs: number
  /** A client that takes less than this over the idle timeout, while bytes are ready for it, is cut off. 0: never. */
  minBytesPerSecond: number
  /** No download lasts longer. */
  maxDurationMs: number
}

const contentTypes: Record<ArchiveFormat, string> = {
  zip: 'application/zip',
  tar: 'application/x-tar',
  'tar.gz': 'application/gzip',
}

/** What to send: status, headers, and the bytes from `first` up to `end` (null: up to the end of the archive). */
interface Plan {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: { readonly first: number; readonly end: number | null } | null
}

const TOO_FEW = 'the client takes too few bytes'

/**
 * Resolves once the client has taken the bytes. If it rejects, the socket is closed already or will be `reset` at once,
 * so nothing more is sent from these buffers.
 */
type Out = (buffers: readonly Uint8Array[], bytes: number) => Promise<void>

export function createDownload(options: DownloadOptions) {
  const { openReading, blocks, log, idleTimeoutMs, minBytesPerSecond, maxDurationMs } = options
  const outgoing = createOutgoing(blocks)

  return async (req: IncomingMessage, res: ServerResponse, address: string): Promise<void> => {
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      res.writeHead(405, { allow: 'GET, HEAD' }).end()
      return
    }
    const found = await openReading(address)
    if (found === null) {
      res.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('no such archive\n')
      return
    }
    await using reading = found
    const { archiveId } = reading
    const gone = new AbortController()
    res.once('close', () => gone.abort())
    const tooLong = setTimeout(() => res.destroy(), maxDurationMs)
    try {
      if (mustBeWhole(req, reading) && (await waitForWhole(reading, gone.signal)) === 'failed') return reset(req)
      const plan = planFor(req, reading)
      res.writeHead(plan.status, { ...commonHeaders(reading), ...plan.headers })
      if (plan.body === null || req.method === 'HEAD') {
        res.end()
        return
      }
      // The first bytes of a growing archive may take long: the headers show the client that they will come.
      res.flushHeaders()
      const outcome = await send(res, reading, plan.body.first, plan.body.end, gone.signal)
      if (outcome === 'sent' || gone.signal.aborted) return
      log.info('download broken off, as its archive did not become whole', { archive: archiveId })
      reset(req)
    } catch (error) {
      const isLeft = gone.signal.aborted || error instanceof ClientGoneError
      if (!isLeft) log.warn('download broken off', { archive: archiveId, error: describe(error) })
      reset(req)
    } finally {
      clearTimeout(tooLong)
    }
  }

  async function send(
    res: ServerResponse,
    reading: ArchiveReading,
    first: number,
    end: number | null,
    gone: AbortSignal,
  ): Promise<'sent' | 'failed'> {
    const pace = createPace({ minBytesPerSecond, windowMs: idleTimeoutMs })
    // Node's own timeout notices if the client takes a part of a write. The empty listener stays: without it Node would
    // close the sockets of clients that wait for the archive to grow.
    res.setTimeout(idleTimeoutMs, () => {})
    const out: Out = async (buffers, bytes) => {
      const askedMs = performance.now()
      await write(res, buffers, pace.maxMs(bytes), gone)
      if (!pace.took(bytes, performance.now() - askedMs)) throw new Error(TOO_FEW)
    }
    let position = first
    while (end === null || position < end) {
      const state = await reading.wait(position, gone)
      if (state === 'end') break
      if (state === 'failed') return 'failed'
      const slice = await outgoing.next(reading, position, end, pace)
      position += slice.bytes
      try {
        await out(slice.buffers, slice.bytes)
      } finally {
        slice.release()
      }
    }
    res.end()
    return 'sent'
  }

  /**
   * Resolves once the socket has taken the bytes. Rejects if `gone` aborts, because Node does not call back for bytes
   * that it drops with a lost connection.
   */
  function write(
    res: ServerResponse,
    buffers: readonly Uint8Array[],
    maxMs: number | null,
    gone: AbortSignal,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const over = () => {
        clearTimeout(deadline)
        res.off('timeout', stalled)
        gone.removeEventListener('abort', lost)
      }
      const lost = () => {
        over()
        reject(new ClientGoneError('the client is gone'))
      }
      const cut = (reason: string) => {
        over()
        res.destroy()
        reject(new Error(reason))
      }
      const stalled = () => cut('the client takes no bytes')
      const deadline = maxMs === null ? undefined : setTimeout(cut, maxMs, TOO_FEW)
      if (gone.aborted) return lost()
      gone.addEventListener('abort', lost)
      res.on('timeout', stalled)
      const last = buffers.length - 1
      // Corked, the buffers go out as one chunk of the body, in one system call.
      res.cork()
      for (let n = 0; n < last; n++) res.write(buffers[n])
      res.write(buffers[last], (error) => {
        over()
        // A broken socket (EPIPE, ECONNRESET) may report the failed write before it reports that it is closed.
        if (error) reject(new ClientGoneError('the connection is lost', { cause: error }))
        else resolve()
      })
      res.uncork()
    })
  }
}

/** Clients may leave at any time, so this is not logged as a warning. */
class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError'
}

/**
 * A download over HTTP/1.0 waits because HTTP/1.0 cannot show that a body broke off. Only a zip can be read while it
 * grows, so the other formats wait too.
 */
function mustBeWhole(req: IncomingMessage, { format, sizeBytes }: ArchiveReading): boolean {
  return req.method === 'GET' && sizeBytes === null && (req.httpVersion === '1.0' || format !== 'zip')
}

async function waitForWhole(reading: ArchiveReading, gone: AbortSignal): Promise<'whole' | 'failed'> {
  while (reading.sizeBytes === null) {
    if ((await reading.wait(reading.readableBytes, gone)) === 'failed') return 'failed'
  }
  return 'whole'
}

function planFor({ method, headers }: IncomingMessage, { etag, sizeBytes }: ArchiveReading): Plan {
  if (!ifMatchHolds(headers['if-match'], etag)) return { status: 412, headers: {}, body: null }
  if (ifNoneMatchHits(headers['if-none-match'], etag)) return { status: 304, headers: {}, body: null }
  // Range is defined for GET alone (RFC 9110 section 14.2).
  const isRanged = method === 'GET' && ifRangeHolds(firstValue(headers['if-range']), etag)
  const range = isRanged ? headers.range : undefined
  if (sizeBytes === null) {
    const from = followFrom(range)
    if (from === null) return { status: 200, headers: {}, body: { first: 0, end: null } }
    return { status: 206, headers: { 'content-range': `bytes ${from}-${FOLLOW}/*` }, body: { first: from, end: null } }
  }
  const selected = selectRange(range, sizeBytes)
  if (selected === 'unsatisfiable') {
    return { status: 416, headers: { 'content-range': `bytes */${sizeBytes}`, 'content-length': '0' }, body: null }
  }
  if (selected === 'all') {
    return { status: 200, headers: { 'content-length': String(sizeBytes) }, body: { first: 0, end: sizeBytes } }
  }
  const { first, last } = selected
  return {
    status: 206,
    headers: { 'content-range': `bytes ${first}-${last}/${sizeBytes}`, 'content-length': String(last - first + 1) },
    body: { first, end: last + 1 },
  }
}

function commonHeaders({ fileName, format, etag, sha256 }: ArchiveReading): Record<string, string> {
  return {
    'content-type': contentTypes[format],
    'content-disposition': contentDisposition(fileName),
    'accept-ranges': 'bytes',
    etag,
    // RFC 9530 section 3: this is the digest of the whole representation, even if the response is a range of it.
    ...(sha256 === null ? {} : { 'repr-digest': `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:` }),
    // Whoever has the address has the archive, so no shared cache may keep either.
    'cache-control': 'private, no-cache',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; sandbox",
    // Stops nginx from buffering. nginx documents it; it is not in an RFC.
    'x-accel-buffering': 'no',
  }
}

/** A reset keeps clients and proxies from taking a broken body for a whole one. */
function reset(req: IncomingMessage): void {
  if (!req.socket.destroyed) req.socket.resetAndDestroy()
}
