// For a network in which every address leads to this machine: one server that listens at all of them, and a name server.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import ipaddr from 'ipaddr.js'
import { bodyOf } from './behaviours.ts'

export interface Heard {
  /** `address port` of every accepted connection. An IPv4 address is written as one, though it came over an IPv6 socket. */
  readonly accepted: string[]
  /** The head of every request, and the address and port it was sent to. */
  readonly requests: { readonly to: string; readonly head: string }[]
}

export interface Everywhere extends AsyncDisposable {
  heard: Heard
}

/** Listens on `ports` at every address, and on each port of `only` at that address alone. */
export async function listenEverywhere(ports: readonly number[], only: [string, number][]): Promise<Everywhere> {
  const everywhere: Everywhere = {
    heard: { accepted: [], requests: [] },
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
  const sockets = new Set<Socket>()
  const listening = [...ports.map((port): [string, number] => ['::', port]), ...only]
  const servers = listening.map(([address, port]) =>
    createServer((socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      const to = `${canonical(socket.localAddress ?? '')} ${port}`
      everywhere.heard.accepted.push(to)
      converse(socket, (head) => everywhere.heard.requests.push({ to, head }))
    }).listen(port, address),
  )
  await Promise.all(servers.map((server) => once(server, 'listening')))
  return everywhere
}

/** Writes an address as the tables of targets do: IPv4 as such, IPv6 without dots. */
function canonical(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)
  if (mapped !== null) return mapped[1]!
  return address.includes(':') ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address
}

/** Header fields that must never influence a later request. */
const SECRETS = 'Set-Cookie: secret=1; Domain=test; Path=/\r\nAccept-CH: DPR\r\nReferrer-Policy: unsafe-url\r\n'
const CUT_BODY = bodyOf(4_000, 'cut')

function converse(socket: Socket, note: (head: string) => void): void {
  let unread = ''
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    unread += chunk.toString('latin1')
    if (!unread.startsWith('GET ')) return socket.destroy()
    for (let end = unread.indexOf('\r\n\r\n'); end >= 0; end = unread.indexOf('\r\n\r\n')) {
      const head = unread.slice(0, end)
      unread = unread.slice(end + 4)
      note(head)
      answer(socket, head)
    }
  })
}

function answer(socket: Socket, head: string): void {
  const [, path = ''] = head.split(' ', 2)
  const [, kind = '', first = '', second = ''] = path.split('/')
  const send = (status: string | number, headers: string, body: Buffer | string = '', sizeBytes = body.length) => {
    socket.write(`HTTP/1.1 ${status} X\r\n${SECRETS}${headers}Content-Length: ${sizeBytes}\r\n\r\n`, 'latin1')
    socket.write(body)
  }
  const closing = 'Connection: close\r\n'
  if (kind === 'redirect') {
    send(first, `Location: ${Buffer.from(second, 'base64url').toString('latin1')}\r\n`)
  } else if (kind === 'again') {
    // Redirects to the same host, over another connection.
    send(302, `Location: /${first}\r\n${closing}`)
    socket.end()
  } else if (kind === 'to-port') {
    const [, host] = /\r\nhost: ([^\r:]+)/i.exec(head) ?? []
    send(302, `Location: http://${host}:${first}/\r\n`)
  } else if (kind === '503') {
    send(503, closing)
    socket.end()
  } else if (kind === 'cut' || (kind === 'cut-once' && !/\r\nrange:/i.test(head))) {
    send(200, 'ETag: "v1"\r\n', CUT_BODY.subarray(0, 1_000), CUT_BODY.length)
    socket.end()
  } else if (kind === 'cut-once') {
    const from = Number(/\r\nrange: bytes=(\d+)-/i.exec(head)![1])
    const range = `Content-Range: bytes ${from}-${CUT_BODY.length - 1}/${CUT_BODY.length}\r\n`
    send(206, `ETag: "v1"\r\n${range}`, CUT_BODY.subarray(from))
  } else {
    send(200, '', 'here')
  }
}

export type Answers = Readonly<Record<string, readonly (readonly string[])[]>>

const TYPE_A = 1
const TYPE_AAAA = 28

/** A name server at port 53 that knows these names alone. Its answers have a time to live of 0 (RFC 1035 section 4). */
export async function answerNames(answers: Answers): Promise<AsyncDisposable> {
  const asked = new Map<string, number>()
  const socket = createSocket('udp4', (query, from) => {
    const { name, type, end } = questionOf(query)
    const rows = answers[name]
    const count = asked.get(`${name} ${type}`) ?? 0
    asked.set(`${name} ${type}`, count + 1)
    const row = rows?.[Math.min(count, rows.length - 1)] ?? []
    const records = row.filter((address) => type === (address.includes(':') ? TYPE_AAAA : TYPE_A)).map(recordOf)
    const head = Buffer.alloc(12)
    query.copy(head, 0, 0, 2)
    head.writeUInt16BE(rows === undefined ? 0x8183 : 0x8180, 2)
    head.writeUInt16BE(1, 4)
    head.writeUInt16BE(records.length, 6)
    socket.send(Buffer.concat([head, query.subarray(12, end), ...records]), from.port, from.address)
  })
  socket.bind(53, '127.0.0.1')
  await once(socket, 'listening')
  return {
    [Symbol.asyncDispose]: async () => {
      socket.close()
    },
  }
}

function questionOf(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = []
  let at = 12
  for (let size = query[at]!; size > 0; size = query[at]!) {
    labels.push(query.toString('latin1', at + 1, at + 1 + size))
    at += 1 + size
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 }
}

/** An answer record. Its name is a pointer to the question (RFC 1035 section 4.1.4). */
function recordOf(address: string): Buffer {
  const bytes = ipaddr.parse(address).toByteArray()
  const type = bytes.length === 4 ? TYPE_A : TYPE_AAAA
  return Buffer.from([0xc0, 0x0c, 0, type, 0, 1, 0, 0, 0, 0, 0, bytes.length, ...bytes])
}
