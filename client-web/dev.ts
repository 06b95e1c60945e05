// `npm run dev` runs this: the server, restarted when its files change, and Vite in front of it. Never part of a build.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { ClientRequest } from 'node:http'
import { join } from 'node:path'
import { createServer, type ProxyOptions } from 'vite'
import { paths } from '#contracts/wire.ts'

const port = process.env.SHEAF_PORT ?? '8011'
const target = `http://127.0.0.1:${port}`

const server = spawn(
  process.execPath,
  ['--watch', '--watch-preserve-output', '--import', './server/require-node.js', 'server/main.ts', '--samples'],
  {
    cwd: join(import.meta.dirname, '..'),
    env: { ...process.env, SHEAF_PORT: port },
    stdio: 'inherit',
    // Detached from the terminal's Ctrl-C, so that the server gets each signal once, from here, and ends in good order.
    detached: true,
  },
)
const serverEnded = once(server, 'exit')
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => server.kill())
process.on('exit', () => server.kill())

/** The server takes calls from its own origin. In development the page's origin is Vite's, so it is replaced. */
const proxy: ProxyOptions = {
  target,
  changeOrigin: true,
  ws: true,
  configure(toServer) {
    toServer.on('proxyReq', withOwnOrigin)
    toServer.on('proxyReqWs', withOwnOrigin)
  },
}

function withOwnOrigin(request: ClientRequest) {
  if (request.hasHeader('origin')) request.setHeader('origin', target)
}

const vite = await createServer({
  configFile: join(import.meta.dirname, 'vite.config.ts'),
  server: {
    host: '127.0.0.1',
    port: 5173,
    proxy: { [paths.trpc]: proxy, [paths.archives]: proxy, [paths.health]: proxy },
  },
})
await vite.listen()
vite.printUrls()

await serverEnded
await vite.close()
process.exit()
