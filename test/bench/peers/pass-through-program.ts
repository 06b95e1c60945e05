// The least that a server in Node can do: it passes one response on unchanged. Prints its port.
import { createServer, get } from 'node:http'
import { get as getTls } from 'node:https'
import type { AddressInfo } from 'node:net'

const server = createServer((request, response) => {
  const url = new URL(request.url!, 'http://peer').searchParams.get('url')!
  const getter = url.startsWith('https:') ? getTls : get
  getter(url, (upstream) => upstream.pipe(response)).on('error', (error) => response.destroy(error))
})
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`ready on port ${(server.address() as AddressInfo).port}\n`)
})
