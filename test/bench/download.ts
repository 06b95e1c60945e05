// The client of every measured server: it reads a response to its end, counts its bytes and drops them.
import { createWriteStream } from 'node:fs'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import { createBodyCounter } from './body-counter.ts'

export interface Counted {
  readonly bytes: number
  readonly firstByteMs: number
  readonly doneMs: number
}

/** All downloads share one buffer, because bytes are only counted and may be overwritten. That keeps the client's CPU low. */
const buffer = Buffer.allocUnsafeSlow(256 * 1024)

/** Measures times from `startedAt` on, which is a value of performance.now(). Rejects if the body is cut. */
export function countDownload(url: string, startedAt: number): Promise<Counted> {
  const { hostname, port, pathname, search, host } = new URL(url)
  const counter = createBodyCounter()
  let firstByteMs: number | null = null
  return new Promise((resolve, reject) => {
    const finish = () => {
      resolve({ bytes: counter.bodyBytes, firstByteMs: firstByteMs ?? elapsed(), doneMs: elapsed() })
      socket.destroy()
    }
    const elapsed = () => performance.now() - startedAt
    const socket = connect({
      host: hostname,
      port: Number(port),
      noDelay: true,
      onread: {
        buffer,
        callback(length) {
          try {
            counter.feed(buffer.subarray(0, length))
          } catch (error) {
            socket.destroy(error as Error)
            return false
          }
          if (firstByteMs === null && counter.bodyBytes > 0) firstByteMs = elapsed()
          if (counter.isWhole) finish()
          return true
        },
      },
    })
    socket.on('error', reject)
    socket.on('connect', () => {
      socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    })
    socket.on('end', () => {
      if (counter.endsWithConnection) finish()
      else reject(new Error(`cut after ${counter.bodyBytes} bytes: ${url}`))
    })
    socket.on('close', () => reject(new Error(`closed after ${counter.bodyBytes} bytes: ${url}`)))
  })
}

/** Saves a download to a file, outside of any measurement. */
export async function saveDownload(url: string, path: string): Promise<void> {
  const response = await fetch(url)
  if (!response.ok || response.body === null) throw new Error(`the server answered ${response.status}: ${url}`)
  await pipeline(Readable.fromWeb(response.body as ReadableStream), createWriteStream(path))
}
