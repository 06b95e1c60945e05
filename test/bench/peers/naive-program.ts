// The server that one would write first: one fetch after the other into archiver, piped to the client. Prints its port.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename } from 'node:path'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { ZipArchive } from 'archiver'

const server = createServer(async (request, response) => {
  const list = new URL(request.url!, 'http://peer').searchParams.get('list')!
  const archive = new ZipArchive({ store: true })
  archive.on('error', (error) => response.destroy(error))
  response.setHeader('content-type', 'application/zip')
  archive.pipe(response)
  for (const url of readFileSync(list, 'utf8').trim().split('\n')) {
    const { body } = await fetch(url)
    const added = once(archive, 'entry')
    archive.append(Readable.fromWeb(body as ReadableStream), { name: basename(url) })
    await added
  }
  await archive.finalize()
})
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`ready on port ${(server.address() as AddressInfo).port}\n`)
})
