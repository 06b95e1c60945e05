// The least a server in Node can do: hands one response on as it is, and makes nothing of it. Says its port when it is ready.
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
