// Bodies that nobody wants: a few are read to their end. If there are more, their connections are closed after the answer.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createDiscards } from '../../../server/http/incoming.ts'
import { DISCARDS } from '../../../server/http/ledger.ts'
import { until } from '../../support/wait.ts'

const BODY_BYTES = 1_000_000

async function startRefusing() {
  const discards = createDiscards()
  const server = createServer(async (req, res) => {
    await discards.letBy(req, res, 'a client')
    res.writeHead(503).end('busy\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** Sends a request without the last byte of its body. */
function withhold(port: number, head = `Content-Length: ${BODY_BYTES}`) {
  const socket = connect(port, '127.0.0.1')
  const talk = { socket, heard: '', isClosed: false }
  socket
    .on('error', () => {})
    .on('data', (chunk) => {
      talk.heard += chunk
    })
  socket.once('close', () => {
    talk.isClosed = true
  })
  socket.write(`POST / HTTP/1.1\r\nHost: localhost\r\n${head}\r\n\r\n`)
  socket.write(Buffer.alloc(BODY_BYTES - 1, 'x'))
  onTestFinished(() => void socket.destroy())
  return talk
}

describe('a body that nobody wants', () => {
  it('is read to its end, and the connection goes on', async () => {
    const talk = withhold(await startRefusing())
    await until(() => talk.heard.includes('busy'), { what: 'the answer' })
    talk.socket.write('xGET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await until(() => talk.heard.split('busy').length === 3, { what: 'the second answer' })
    expect(talk.isClosed).toBe(false)
  })

  it('costs its client the connection if many others have not ended, and gives its place back', async () => {
    const port = await startRefusing()
    const talks = Array.from({ length: DISCARDS + 20 }, () => withhold(port))
    await until(() => talks.filter(({ isClosed }) => isClosed).length > 20, { what: 'some to be closed' })
    const held = talks.filter(({ isClosed }) => !isClosed)
    // One client alone gets two thirds of the places.
    expect(held.length).toBeGreaterThan(DISCARDS / 2)
    for (const { socket } of held) socket.destroy()
    const isReadAgain = async () => {
      const next = withhold(port)
      await until(() => next.heard.includes('busy') || next.isClosed, { what: 'the answer' })
      return !next.isClosed && !next.heard.includes('connection: close')
    }
    await until(isReadAgain, { what: 'a place' })
  })

  it('is not counted if the request has no body', async () => {
    const port = await startRefusing()
    const talks = Array.from({ length: DISCARDS + 20 }, () => withhold(port))
    await until(() => talks.some(({ isClosed }) => isClosed), { what: 'some to be closed' })
    const response = await fetch(`http://127.0.0.1:${port}/`)
    expect([response.status, response.headers.get('connection')]).toEqual([503, 'keep-alive'])
  })
})
