// No input, however it is made and as long as it may be, blocks the event loop. Tries every procedure and header.
import { once } from 'node:events'
import { request } from 'node:http'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import WebSocket from 'ws'
import { connect, newArchiveKey } from '#contracts/client.ts'
import { bytes, type HeaderFields, redirect, status } from '../support/behaviours.ts'
import type { Behaviour } from '../support/exchange.ts'
import { type Origin, startOrigin } from '../support/origin.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { watch } from './world.ts'

/** How long one turn of the loop may compute. */
const MAX_BLOCK_MS = 100
const MAX_MESSAGE_BYTES = 8 * 1024 * 1024
/** Bytes of a websocket message around its input. */
const ENVELOPE_BYTES = 200

let origin: Origin
let server: TestServer

beforeAll(async () => {
  origin = await startOrigin()
  const preload = new URL('../support/block-preload.ts', import.meta.url).href
  const env = { NODE_OPTIONS: `--import=${preload}`, SHEAF_LOG: 'error', SHEAF_MAX_ATTEMPTS: '2' }
  server = await startServer({ env })
})

afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

/** Returns the longest block since the last call. */
async function longestBlockMs(): Promise<number> {
  const from = server.log.length
  process.kill(server.pid, 'SIGUSR2')
  const told = () => /^blocked (\S+)$/m.exec(server.log.slice(from))?.[1]
  return Number(await until(told, { what: 'the longest block', timeoutMs: 60_000 }))
}

/** Tries three times, because a garbage collection may block the loop once. A block in every try is the input's fault. */
async function expectNoBlock(act: () => Promise<unknown>): Promise<void> {
  let blockedMs = 0
  for (let tries = 0; tries < 3; tries++) {
    await longestBlockMs()
    await act()
    blockedMs = await longestBlockMs()
    if (blockedMs < MAX_BLOCK_MS) return
  }
  expect(blockedMs).toBeLessThan(MAX_BLOCK_MS)
}

const procedures = {
  createArchive: 'subscription',
  submitArchive: 'mutation',
  watchArchive: 'subscription',
  listEntries: 'query',
  planArchive: 'query',
  cancelArchive: 'mutation',
  echo: 'mutation',
  serverInfo: 'query',
} as const
type Procedure = keyof typeof procedures
type Call = (procedure: Procedure, input: string) => Promise<void>

/** Resolves with the answer, or when the server hangs up. */
const overHttp: Call = (procedure, input) =>
  new Promise((resolve) => {
    const headers = { 'content-type': 'application/json' }
    const asking = request(`${server.url}/trpc/${procedure}`, { method: 'POST', headers, agent: false }, (res) => {
      res.resume().on('error', () => {})
      res.on('close', resolve)
    })
    asking.on('error', () => resolve())
    asking.end(input)
  })

const overWebsocket: Call = async (procedure, input) => {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/trpc`)
  socket.on('error', () => {})
  await once(socket, 'open')
  const answered = Promise.withResolvers<void>()
  const isLast = (text: string) => !text.includes('"type":"started"')
  socket.on('message', (data) => isLast(String(data)) && answered.resolve())
  socket.on('close', () => answered.resolve())
  socket.send(`{"id":1,"method":"${procedures[procedure]}","params":{"path":"${procedure}","input":${input}}}`)
  await answered.promise
  socket.terminate()
}

const transports: Record<string, Call> = { HTTP: overHttp, websocket: overWebsocket }

/** Repeats a piece up to this many characters. */
const fill = (piece: string, length: number) => piece.repeat(Math.max(0, Math.floor(length / piece.length)))
const inMessage = (piece: string) => fill(piece, MAX_MESSAGE_BYTES - ENVELOPE_BYTES - 100)
const many = <T>(count: number, make: (index: number) => T) => Array.from({ length: count }, (_, index) => make(index))

/** Makes an input with a new key each time. */
function inputOf(fields: object | string): string {
  const rest = typeof fields === 'string' ? fields : JSON.stringify(fields).slice(1, -1)
  return `{"json":{"archiveKey":"${newArchiveKey()}",${rest}}}`
}

const named = (count: number, nameOf: (index: number) => string) => {
  const entries = many(count, (index) => ({ url: 'http://127.0.0.1:1/', name: nameOf(index) }))
  return () => inputOf({ entries })
}

const marks = (length: number) => `a${'\u0315'.repeat(length / 2)}${'\u0316'.repeat(length / 2)}`

/** Inputs that are refused because of their length, their structure or their first fault. */
const floods: Record<string, () => string> = {
  'open lists': () => inMessage('['),
  'open objects': () => inMessage('{"a":'),
  'a list of lists': () => inputOf(`"entries":[${inMessage('[],')}[]]`),
  'zeros for entries': () => inputOf(`"entries":[${inMessage('0,')}0]`),
  'a million entries of nothing': () => inputOf(`"entries":[${'"",'.repeat(999_999)}""]`),
  'more than a million': () => inputOf(`"entries":[${'"",'.repeat(1_000_000)}""]`),
  'fields nobody knows': () => inputOf(many(500_000, (index) => `"k${index}":0`).join(',')),
  'one field over and over': () => inputOf(`${inMessage('"a":0,')}"b":0`),
  escapes: () => inputOf(`"entries":["${inMessage('\\u0000')}"]`),
  digits: () => inputOf(`"entries":[${inMessage('1')}]`),
  'a long text': () => inputOf(`"text":"${inMessage('a')}"`),
  'a long key': () => `{"json":{"archiveKey":"${inMessage('a')}","entries":["a"]}}`,
  'a long cursor': () => inputOf(`"cursor":${inMessage('9')},"lastEventId":"1"`),
  'a long id of an event': () => inputOf(`"lastEventId":"${inMessage('9')}"`),
  'annotations of superjson': () =>
    `{"json":{"entries":["a"]},"meta":{"values":{${many(350_000, (n) => `"k${n}":["undefined"]`).join(',')}}}}`,
  'a big number of superjson': () => `{"json":{"cursor":"${inMessage('9')}"},"meta":{"values":{"cursor":["bigint"]}}}`,
  'equalities of superjson': () =>
    `{"json":{"a":1},"meta":{"referentialEqualities":{"a":[${many(700_000, () => '"b.c"').join(',')}]}}}`,
}

/** Manifests that are accepted, and cost as much as possible. */
const manifests: Record<string, () => string> = {
  'short names': named(20_000, (index) => `name-${index}.txt`),
  'no URLs': () => inputOf({ entries: many(20_000, () => 'no url') }),
  'long URLs': () => inputOf({ entries: many(20_000, (index) => `http://127.0.0.1:1/${index}/${'a'.repeat(150)}`) }),
  'URLs of another script': () => inputOf({ entries: many(170, () => `http://127.0.0.1:1/${fill('\u4e2d', 8_000)}`) }),
  'hosts of marks': () => inputOf({ entries: many(250, () => `http://${marks(8_000)}/`) }),
  'as long hosts as may be': () => inputOf({ entries: many(3_900, () => `http://${marks(500)}/`) }),
  'names of marks out of order': named(500, () => marks(4_000)),
  'short names of marks': named(20_000, (index) => `${marks(80)}${index}`),
  'short names of what is taken apart': named(20_000, (index) => `${'\ufb2c'.repeat(55)}${index}`),
  'names of what is not seen': named(19_000, (index) => `${'\u0001'.repeat(60)}${index}`),
  'names of folders': named(1_000, () => fill('a/', 4_000)),
  'names of slashes': named(1_000, () => fill('/', 4_000)),
  'the same name': named(20_000, () => `${'x'.repeat(150)}.tar.gz`),
  'a long name for the archive': () => inputOf({ entries: ['a'], name: marks(1_000) }),
}

describe.each(Object.keys(transports))('over %s', (transport) => {
  const call = transports[transport]!

  it.each(Object.keys(floods))(
    'no flood blocks the loop: %s',
    async (name) => {
      const input = floods[name]!()
      expect(input.length).toBeLessThan(MAX_MESSAGE_BYTES - ENVELOPE_BYTES)
      for (const procedure of Object.keys(procedures) as Procedure[]) {
        // Over HTTP a subscription is a GET with its input in the URL.
        if (transport === 'HTTP' && procedures[procedure] === 'subscription') continue
        await expectNoBlock(() => call(procedure, input))
      }
    },
    180_000,
  )

  it.each(Object.keys(manifests))(
    'no manifest blocks the loop: %s',
    async (name) => {
      const taking: Procedure[] = ['planArchive', 'submitArchive']
      if (transport === 'websocket') taking.push('createArchive')
      for (const procedure of taking) await expectNoBlock(() => call(procedure, manifests[name]!()))
    },
    120_000,
  )

  it('no combination of pieces blocks the loop', async () => {
    const pieces = [
      '[',
      '{"a":',
      '0,',
      '"",',
      '"a":',
      '}',
      ']',
      '\\u0000',
      '\\"',
      '"',
      'e9',
      '-',
      ' ',
      '\u0315',
      '\u{1f600}',
      '{"json":',
      '"meta":',
    ]
    const text = fc.array(fc.tuple(fc.constantFrom(...pieces), fc.integer({ min: 1, max: 22 })), {
      minLength: 1,
      maxLength: 6,
    })
    const ends = fc.constantFrom(
      ['', ''],
      ['{"json":', '}'],
      ['{"json":{"entries":[', '0]}}'],
      ['{"json":{"text":"', '"}}'],
    )
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...(Object.keys(procedures) as Procedure[])),
        ends,
        text,
        async (procedure, [start, end], parts) => {
          if (transport === 'HTTP' && procedures[procedure] === 'subscription') return
          const body = parts.map(([piece, power]) => piece.repeat(2 ** power)).join('')
          const input = start + body.slice(0, 2_000_000) + end
          await expectNoBlock(() => call(procedure, input))
        },
      ),
      { numRuns: 25 },
    )
  }, 180_000)
})

describe('no header blocks the loop', () => {
  /** More entries than are fetched at a time. */
  const ENTRIES = 150
  const LONG = 15_000

  const texts: Record<string, string> = {
    // An HTTP parser returns an origin's UTF-8 as latin1.
    marks: Buffer.from(marks(LONG / 2)).toString('latin1'),
    quotes: fill('"', LONG),
    backslashes: fill('\\', LONG),
    commas: fill(',', LONG),
    semicolons: fill(';', LONG),
    equals: fill('a=b;', LONG),
    spaces: `a${fill(' ', LONG)}b`,
    digits: fill('1', LONG),
    slashes: fill('a/', LONG),
    escapes: fill('%cc%95', LONG),
    parentheses: fill('(', LONG),
    'words of bytes': fill('\xe9 ', LONG),
    'encoded words': fill('=?big5?q?a?= ', LONG),
  }
  const headers: Record<string, (text: string) => Behaviour> = {
    'content-disposition': (text) => sent({ 'content-disposition': text }),
    filename: (text) => sent({ 'content-disposition': `attachment; filename="${text}"` }),
    'filename*': (text) => sent({ 'content-disposition': `attachment; filename*=UTF-8''${text}` }),
    'content-type': (text) => sent({ 'content-type': text }),
    'content-encoding': (text) => sent({ 'content-encoding': text }),
    'last-modified': (text) => sent({ 'last-modified': text }),
    etag: (text) => sent({ etag: `"${text}"` }),
    'content-range': (text) => status(206, { 'content-range': `bytes ${text}` }, 'body'),
    // It is not a number, so that no retry waits for it. And the status is not one by which the origin asks for less.
    'retry-after': (text) => status(500, { 'retry-after': `x${text}` }),
    location: (text) => redirect(text),
    'location of a host': (text) => redirect(`http://${text.slice(0, 8_000)}/`),
  }
  const sent = (fields: HeaderFields) => bytes(Buffer.from('body'), fields)

  it.each(Object.keys(headers))(
    '%s',
    async (name) => {
      const connection = connect({ url: server.url })
      try {
        for (const [what, text] of Object.entries(texts)) {
          const url = origin.serve(`/${encodeURIComponent(name)}/${what}`, headers[name]!(text))
          const input = () => ({ archiveKey: newArchiveKey(), entries: many(ENTRIES, (index) => `${url}?${index}`) })
          await expectNoBlock(() => watch(connection.createArchive(input())).end)
        }
      } finally {
        await connection.close()
      }
    },
    180_000,
  )

  it('the URL itself', async () => {
    origin.serve('/*', sent({}))
    const connection = connect({ url: server.url })
    try {
      for (const segment of ['\u0315', '%cc%95', '%cc', '.a', '//', '%2f', '\u{1f600}', ' ', '\\']) {
        const url = `${origin.url}/${fill(segment, 4_000)}x`
        const input = () => ({ archiveKey: newArchiveKey(), entries: many(ENTRIES, (index) => `${url}?${index}`) })
        await expectNoBlock(() => watch(connection.createArchive(input())).end)
      }
    } finally {
      await connection.close()
    }
  }, 180_000)

  it('a flood of interim ones', async () => {
    const interim = Buffer.from('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(2_000))
    const url = origin.serve('/interim', async (exchange) => {
      for (;;) await exchange.write(interim)
    })
    const connection = connect({ url: server.url })
    const input = () => ({ archiveKey: newArchiveKey(), entries: many(ENTRIES, (index) => `${url}?${index}`) })
    await expectNoBlock(() => watch(connection.createArchive(input())).end)
    await connection.close()
  }, 60_000)
})
