// The origin as a separate program: it serves a folder, on request with a delay or over TLS. Prints its port.
import { createReadStream, readFileSync, statSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join, normalize } from 'node:path'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    root: { type: 'string' },
    'delay-ms': { type: 'string', default: '0' },
    key: { type: 'string' },
    cert: { type: 'string' },
  },
})
const root = values.root!
const delayMs = Number(values['delay-ms'])
const SMALL_BYTES = 1024 * 1024

const listener: RequestListener = (request, response) => {
  if (delayMs === 0) answer()
  else setTimeout(answer, delayMs)

  function answer() {
    const path = join(root, normalize(new URL(request.url!, 'http://origin').pathname))
    const stats = statSync(path, { throwIfNoEntry: false })
    if (!stats?.isFile()) {
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, { 'content-length': stats.size, etag: `"${stats.mtimeMs}-${stats.size}"` })
    if (stats.size <= SMALL_BYTES) response.end(readFileSync(path))
    else createReadStream(path, { highWaterMark: SMALL_BYTES }).pipe(response)
  }
}

const server =
  values.key === undefined
    ? createServer(listener)
    : createTlsServer({ key: readFileSync(values.key), cert: readFileSync(values.cert!) }, listener)
server.keepAliveTimeout = 300_000
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  process.stdout.write(`ready on port ${(server.address() as AddressInfo).port}\n`)
})
