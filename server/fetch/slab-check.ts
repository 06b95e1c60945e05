// Checks once that pooled sockets work here, by fetching a body from its own loopback server.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Lease } from '../lib/blocks.ts'
import { crc32 } from '../lib/crc32.ts'
import { parseAllowList } from './address.ts'
import { createDispatcher, type FetchDispatcher } from './dispatcher.ts'

/** The body fills several slabs, so that some slabs are reused. */
const BODY_BYTES = 2 * 1024 * 1024
/** Chunks are held until they have this many bytes, and only then read, so that a slab reused too early shows. */
const HELD_BYTES = 512 * 1024
const DEADLINE_MS = 1_000

export interface SlabCheckOptions {
  /** @default 1000 */
  deadlineMs?: number
  /** Makes the dispatcher. @default createDispatcher */
  open?: typeof createDispatcher
}

/** Reports what is wrong with pooled sockets on this machine; null if they work. Never rejects. */
export async function findSlabFault({
  deadlineMs = DEADLINE_MS,
  open = createDispatcher,
}: SlabCheckOptions = {}): Promise<string | null> {
  const body = Buffer.allocUnsafe(BODY_BYTES)
  for (let at = 0; at < body.length; at += 4) body.writeUInt32LE(Math.imul(at, 2_654_435_761) >>> 0, at)
  const server = createServer((_, response) => response.end(body))
  let dispatcher: FetchDispatcher | null = null
  const late = Promise.withResolvers<string>()
  const timer = setTimeout(() => late.resolve(`no answer within ${deadlineMs} ms`), deadlineMs)
  try {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
    dispatcher = open({
      policy: { allowedPorts: new Set(), allow: parseAllowList(address) },
      connectTimeoutMs: deadlineMs,
      maxConnectionsPerOrigin: 1,
    })
    return await Promise.race([fetchOnce(dispatcher, `http://${address}`, crc32(body)), late.promise])
  } catch (error) {
    return (error as Error).message
  } finally {
    clearTimeout(timer)
    await dispatcher?.destroy()
    server.closeAllConnections()
    server.close()
  }
}

function fetchOnce(dispatcher: FetchDispatcher, origin: string, expectedCrc: number): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const held: { chunk: Buffer; lease: Lease | null }[] = []
    let heldBytes = 0
    let bytes = 0
    let crc = 0
    let leases = 0

    function readHeld(): void {
      for (const { chunk, lease } of held.splice(0)) {
        crc = crc32(chunk, crc)
        lease?.release()
      }
      heldBytes = 0
    }

    dispatcher.dispatch(
      { origin, path: '/', method: 'GET' },
      {
        onRequestStart() {},
        onResponseStart() {},
        onResponseData(_, chunk) {
          const lease = dispatcher.hold(chunk)
          held.push({ chunk, lease })
          if (lease !== null) leases++
          bytes += chunk.length
          heldBytes += chunk.length
          if (heldBytes >= HELD_BYTES) readHeld()
        },
        onResponseEnd() {
          readHeld()
          if (leases === 0) resolve('sockets did not read into the pool')
          else resolve(bytes === BODY_BYTES && crc === expectedCrc ? null : 'a body came out changed')
        },
        onResponseError: (_, error) => reject(error),
      },
    )
  })
}
