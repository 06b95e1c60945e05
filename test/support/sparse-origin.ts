// An origin that sends bodies of any length and stores none: it sends one block over and over.
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { crc32 } from 'node:zlib'

export interface SparseOrigin extends AsyncDisposable {
  /** The URL of a body of this size. `name` is the last segment of its path. */
  urlOf(sizeBytes: number, name: string): string
}

const BLOCK_BYTES = 2 ** 20
/** Not a power of two: otherwise a piece lost in the middle of the body would not show. */
const PERIOD_BYTES = 251
const BLOCK = Buffer.alloc(BLOCK_BYTES, Buffer.from(Array.from({ length: PERIOD_BYTES }, (_, index) => index)))

function* blocksOf(sizeBytes: number): Iterable<Buffer> {
  for (let left = sizeBytes; left > 0; left -= BLOCK_BYTES) yield BLOCK.subarray(0, Math.min(left, BLOCK_BYTES))
}

/** The CRC-32 of a body of this size. It takes a second for a few GiB. */
export function sparseCrc32(sizeBytes: number): number {
  let checksum = 0
  for (const block of blocksOf(sizeBytes)) checksum = crc32(block, checksum)
  return checksum
}

export async function startSparseOrigin(): Promise<SparseOrigin> {
  const server = createServer((req, res) => {
    const sizeBytes = Number(/^\/(\d{1,15})\//.exec(req.url!)?.[1] ?? Number.NaN)
    if (Number.isNaN(sizeBytes)) return void res.writeHead(404).end()
    res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': sizeBytes })
    // A client may leave in the middle. That is not an error here.
    send(res, sizeBytes).catch(() => res.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    urlOf: (sizeBytes, name) => `http://127.0.0.1:${port}/${sizeBytes}/${name}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function send(res: ServerResponse, sizeBytes: number): Promise<void> {
  const gone = new AbortController()
  res.once('close', () => gone.abort())
  for (const block of blocksOf(sizeBytes)) {
    if (!res.write(block)) await once(res, 'drain', { signal: gone.signal })
  }
  res.end()
}
