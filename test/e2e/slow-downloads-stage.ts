// Runs in a network namespace whose sockets have small buffers. So a client takes a block in many small parts, as over a
// slow line. With the large buffers of an ordinary loopback it would take several blocks at once.
import { writeFile } from 'node:fs/promises'
import { connect as dial } from 'node:net'
import { connect, newArchiveKey } from '#contracts/client.ts'
import { createBodyCounter } from '../support/body-counter.ts'
import { startOrigin } from '../support/origin.ts'
import { inOwnNetwork } from '../support/own-network.ts'
import { startServer } from '../support/server.ts'

export interface Played {
  readonly sizeBytes: number
  /** Bytes received until the connection closed, including the head. */
  readonly receivedBytes: number
  readonly log: string
}

export interface Plays {
  /** The server accepts any rate. */
  readonly patient: Played
  /** The server asks for a higher rate than the client has. */
  readonly strict: Played
}

export async function playSlowDownloads(): Promise<Plays> {
  return (await inOwnNetwork(new URL(import.meta.url), { timeoutMs: 60_000 })) as Plays
}

const IDLE_MS = 1_000
/** Much less than the idle timeout. A block takes several of these. */
const REST_MS = 300
const SLOW_FOR_MS = 6 * IDLE_MS

async function play(rate: string): Promise<Played> {
  await using origin = await startOrigin()
  await using server = await startServer({
    env: {
      SHEAF_DOWNLOAD_IDLE_TIMEOUT_MS: String(IDLE_MS),
      SHEAF_DOWNLOAD_MIN_BYTES_PER_SECOND: rate,
    },
  })
  const connection = connect({ url: server.url })
  let href = ''
  let sizeBytes = 0
  const entries = [`${origin.url}/bytes/4000000/x`]
  for await (const event of connection.createArchive({ archiveKey: newArchiveKey(), entries })) {
    if (event.type === 'complete') ({ href, sizeBytes } = event)
  }
  await connection.close()
  const receivedBytes = await takeSlowly(server.port, href)
  return { sizeBytes, receivedBytes, log: server.log }
}

/** Reads a little at a time for some seconds, and then the rest at once. */
async function takeSlowly(port: number, path: string): Promise<number> {
  const socket = dial(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  const begunMs = performance.now()
  const body = createBodyCounter()
  socket.on('data', (chunk: Buffer) => {
    body.take(chunk)
    if (performance.now() - begunMs > SLOW_FOR_MS) return
    socket.pause()
    setTimeout(() => socket.resume(), REST_MS)
  })
  await new Promise((resolve) => socket.once('close', resolve))
  return body.bytes
}

if (import.meta.main) {
  for (const direction of ['rmem', 'wmem']) await writeFile(`/proc/sys/net/ipv4/tcp_${direction}`, '4096 8192 16384')
  const [patient, strict] = await Promise.all([play('0'), play('500000')])
  process.stdout.write(`${JSON.stringify({ patient, strict } satisfies Plays)}\n`)
}
