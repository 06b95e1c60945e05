// The calls of the library over HTTP against the real router and a made-up server behind it: answers, pages, refusals.
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createHTTPHandler } from '@trpc/server/adapters/standalone'
import { describe, expect, it } from 'vitest'
import { createSheafClient, newArchiveKey, RefusedError, UnreachableError } from '../../client-node/index.ts'
import type { ArchiveApi, EntryStatus, ServerInfo } from '../../contracts/api.ts'
import type { AcceptedEvent } from '../../contracts/events.ts'
import { Refusal } from '../../contracts/failures.ts'
import { createRouter } from '../../contracts/router.ts'

const info = { version: '1.2.3', protocol: 1 } as ServerInfo
const caller = { principal: 'anyone', address: '127.0.0.1' }

function handlerOf(api: Partial<ArchiveApi>): RequestListener {
  const { signal: gone } = new AbortController()
  const createContext = () => ({ api: api as ArchiveApi, caller, protocol: '1', gone, readyForNext: async () => {} })
  return createHTTPHandler({
    router: createRouter(),
    createContext,
    basePath: '/below/trpc/',
    allowMethodOverride: true,
  })
}

async function serve(listener: RequestListener) {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/below/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('a client', () => {
  it('calls the server by its contract, also below a path', async () => {
    await using server = await serve(handlerOf({ echo: (text) => text, info: () => info, cancel: async () => true }))
    await using client = createSheafClient(server)
    expect(await client.echo('ünïcode \u0000')).toBe('ünïcode \u0000')
    expect(await client.serverInfo()).toEqual(info)
    expect(await client.cancelArchive(newArchiveKey())).toBe(true)
  })

  it('lists entries through all pages, and asks for no more than is read', async () => {
    const cursors: (number | undefined)[] = []
    const listEntries: ArchiveApi['listEntries'] = async ({ cursor = 0, limit = 100 }) => {
      cursors.push(cursor)
      const indexes = Array.from({ length: Math.min(limit, 25 - cursor) }, (_, at) => cursor + at)
      const nextCursor = cursor + limit < 25 ? cursor + limit : null
      return { entries: indexes.map((index) => ({ index }) as EntryStatus), nextCursor }
    }
    await using server = await serve(handlerOf({ listEntries }))
    await using client = createSheafClient(server)
    const indexes: number[] = []
    for await (const { index } of client.listEntries(newArchiveKey(), { pageSize: 10 })) indexes.push(index)
    expect(indexes).toEqual(Array.from({ length: 25 }, (_, index) => index))
    expect(cursors).toEqual([0, 10, 20])
    for await (const { index } of client.listEntries(newArchiveKey(), { pageSize: 10 })) {
      if (index === 3) break
    }
    expect(cursors).toEqual([0, 10, 20, 0])
  })

  it('makes a key where none is given, and says which', async () => {
    await using client = createSheafClient({ url: 'http://127.0.0.1:9' })
    const { archiveKey } = client.createArchive({ entries: ['http://x/'] })
    expect(archiveKey).toMatch(/^[\w-]{32}$/)
    expect(client.createArchive({ entries: ['http://x/'], archiveKey }).archiveKey).toBe(archiveKey)
  })

  it('tells that an archive is accepted before there is a socket to watch it by', async () => {
    const accepted = { type: 'accepted', archiveId: 'id', href: '/archives/id/a.zip' } as AcceptedEvent
    // No websocket here: nothing but the answer to the submission can be where it comes from.
    await using server = await serve(handlerOf({ submit: async () => accepted }))
    await using sheaf = createSheafClient({ url: server.url })
    for await (const event of sheaf.createArchive({ entries: ['http://origin.test/a'] })) {
      expect(event).toEqual(accepted)
      break
    }
  })

  it('throws the typed reason of a refusal', async () => {
    const cancel = () => Promise.reject(new Refusal('NOT_FOUND'))
    await using server = await serve(handlerOf({ cancel }))
    await using client = createSheafClient(server)
    const failure = await client.cancelArchive(newArchiveKey()).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(RefusedError)
    expect(failure).toMatchObject({ refusal: { code: 'NOT_FOUND', retryable: false } })
    await expect(client.cancelArchive('short')).rejects.toMatchObject({ refusal: { code: 'BAD_INPUT' } })
  })

  it.each<[string, RequestListener]>([
    ['a web page', (_, response) => void response.end('<html>')],
    ['an error page', (_, response) => void response.writeHead(502).end('<html>')],
    ['nothing', (_, response) => void response.socket?.destroy()],
  ])('knows that %s is no sheaf', async (_, listener) => {
    await using server = await serve(listener)
    await using client = createSheafClient(server)
    await expect(client.serverInfo()).rejects.toThrow(UnreachableError)
    await expect(client.serverInfo()).rejects.toThrow(/no sheaf server answers at http:/)
  })

  it('says why a server cannot be reached', async () => {
    const gone = await serve(() => {})
    await gone[Symbol.asyncDispose]()
    await using client = createSheafClient(gone)
    await expect(client.echo('hello')).rejects.toThrow(/no sheaf server answers at http.* \(ECONNREFUSED\)/)
  })

  it('ends a call when asked', async () => {
    await using server = await serve(() => {})
    await using client = createSheafClient(server)
    const call = client.echo('hello', { signal: AbortSignal.timeout(50) })
    await expect(call).rejects.toMatchObject({ name: 'TimeoutError' })
  })

  it('downloads nothing that is no href of an archive', async () => {
    await using client = createSheafClient({ url: 'http://127.0.0.1:9' })
    await expect(client.download('/archives/x/file.exe', 'x')).rejects.toThrow('no href of an archive')
  })
})
