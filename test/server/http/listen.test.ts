// Several sockets listen: many connections at once are all accepted soon, and no one else can have the port.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, it } from 'vitest'
import { listenWidely } from '../../../server/http/listen.ts'
import { until } from '../../support/wait.ts'

const here = { host: '127.0.0.1', port: 0 }

async function connectMany(port: number, count: number): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect(port, here.host))
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  return sockets
}

it('gives every connection to the one server, several in one turn of the loop', async () => {
  const server = createServer()
  let turn = 0
  const acceptedIn: number[] = []
  server.on('connection', (socket) => {
    acceptedIn.push(turn)
    socket.destroy()
  })
  const listening = await listenWidely(server, here)
  const clients = Array.from({ length: 64 }, () => connect(listening.port, here.host).on('error', () => {}))
  let counting = true
  const count = () => {
    turn++
    if (counting) setImmediate(count)
  }
  count()
  await until(() => acceptedIn.length === 64, { what: 'all of them' })
  counting = false
  expect(acceptedIn.length - new Set(acceptedIn).size).toBeGreaterThan(8)
  for (const client of clients) client.destroy()
  listening.stop()
})

it('refuses a port that is taken, even by our own process', async () => {
  const taken = createServer().listen(here)
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  await expect(listenWidely(createServer(), { ...here, port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  taken.close()
  const first = await listenWidely(createServer(), here)
  const second = listenWidely(createServer(), { ...here, port: first.port })
  await expect(second).rejects.toMatchObject({ code: 'EADDRINUSE' })
  first.stop()
})

it('accepts no connection after it is stopped, and lets open ones go on', async () => {
  let accepted = 0
  const server = createServer((socket) => {
    accepted++
    socket.pipe(socket)
  })
  const listening = await listenWidely(server, here)
  const sockets = await connectMany(listening.port, 20)
  await until(() => accepted === 20, { what: 'all to be accepted' })
  listening.stop()
  await expect(connectMany(listening.port, 1)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  for (const socket of sockets) {
    socket.write('still there')
    expect(String((await once(socket, 'data'))[0])).toBe('still there')
    socket.destroy()
  }
})
