// A scriptable name server on loopback (RFC 1035): it answers with addresses, an alias, an error, or not at all.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

const TYPES = { A: 1, CNAME: 5, AAAA: 28 } as const

/** The answers for one name. Questions for a family that is 'silent' are never answered. */
export interface Zone {
  readonly a?: readonly string[] | 'silent'
  /** Written in full: eight groups of four digits. */
  readonly aaaa?: readonly string[] | 'silent'
  readonly alias?: string
  /** RCODE (section 4.1.1): 2 is SERVFAIL, 3 is NXDOMAIN. */
  readonly rcode?: number
}

export interface NameServer extends AsyncDisposable {
  /** "127.0.0.1:<port>". */
  readonly address: string
  /** Names that were asked for, in order. */
  readonly asked: readonly string[]
}

/** Names that are not in `zones` do not exist. */
export async function startNameServer(
  zones: Record<string, Zone> | ((name: string) => Zone),
  port = 0,
): Promise<NameServer> {
  const zoneOf = typeof zones === 'function' ? zones : (name: string) => zones[name] ?? { rcode: 3 }
  const asked: string[] = []
  const socket = createSocket('udp4')
  socket.on('message', (query, from) => {
    const { name, type, end } = readQuestion(query)
    asked.push(name)
    const zone = zoneOf(name)
    const records = zone.alias === undefined ? [] : [record(TYPES.CNAME, labels(zone.alias))]
    const target = zone.alias === undefined ? zone : zoneOf(zone.alias)
    const found = type === TYPES.A ? target.a : type === TYPES.AAAA ? target.aaaa : []
    if (found === 'silent') return
    for (const text of found ?? []) records.push(record(type, bytesOf(text), zone.alias))
    const head = Buffer.alloc(12)
    query.copy(head, 0, 0, 2)
    head.writeUInt16BE(0x8180 | (target.rcode ?? 0), 2)
    head.writeUInt16BE(1, 4)
    head.writeUInt16BE(records.length, 6)
    socket.send(Buffer.concat([head, query.subarray(12, end), ...records]), from.port, from.address)
  })
  socket.bind(port, '127.0.0.1')
  await once(socket, 'listening')
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked,
    async [Symbol.asyncDispose]() {
      socket.close()
    },
  }
}

function readQuestion(query: Buffer): { name: string; type: number; end: number } {
  const parts: string[] = []
  let at = 12
  for (let length = query[at]!; length > 0; length = query[at]!) {
    parts.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: parts.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 }
}

function labels(name: string): Buffer {
  const parts = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]))
  return Buffer.concat([...parts, Buffer.from([0])])
}

function record(type: number, data: Buffer, owner?: string): Buffer {
  const name = owner === undefined ? Buffer.from([0xc0, 12]) : labels(owner)
  const fixed = Buffer.alloc(10)
  fixed.writeUInt16BE(type, 0)
  fixed.writeUInt16BE(1, 2)
  fixed.writeUInt16BE(data.length, 8)
  return Buffer.concat([name, fixed, data])
}

function bytesOf(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number))
  return Buffer.from(address.replaceAll(':', ''), 'hex')
}
