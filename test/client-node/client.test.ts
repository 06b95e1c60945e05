// The library's calls over HTTP, against the real router in front of a scripted server: answers, pages, refusals.
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { createHTTPHandler } from '@trpc/server/adapters/standalone'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import { describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { createSheafClient, newArchiveKey, RefusedError, UnreachableError } from '../../client-node/index.ts'
import type { ArchiveApi, EntryStatus, ServerInfo } from '../../contracts/api.ts'
import type { AcceptedEvent, ArchiveEvent } from '../../contracts/events.ts'
import { Refusal } from '../../contracts/failures.ts'
import { createRouter } from '../../contracts/router.ts'
import { until } from '../support/wait.ts'

const info = { version: '1.2.3', protocol: 1 } as ServerInfo
const caller = { principal: 'anyone', address: '127.0.0.1' }

const contextOf = (api: Partial<ArchiveApi>) => () => {
  const { signal: gone } = new AbortController()
  return { api: api as ArchiveApi, caller, protocol: '1', mayAct: true, gone, readyForNext: async () => {} }
}

function handlerOf(api: Partial<ArchiveApi>): RequestListener {
  return createHTTPHandler({
    router: createRouter(),
    createContext: contextOf(api),
    basePath: '/below/trpc/',
    allowMethodOverride: true,
  })
}

async function serve(listener: RequestListener, onSocket?: (sockets: WebSocketServer) => void) {
  const server = createServer(listener).listen(0, '127.0.0.1')
  const sockets = onSocket && new WebSocketServer({ server })
  if (sockets !== undefined) onSocket!(sockets)
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/below/`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets?.clients ?? []) socket.terminate()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('a client', () => {
  it('calls the server by its contract, even if the server is below a path', async () => {
    await using server = await serve(handlerOf({ echo: (text) => text, info: () => info, cancel: async () => true }))
    await using client = createSheafClient(server)
    expect(await client.echo('ünïcode \u0000')).toBe('ünïcode \u0000')
    expect(await client.serverInfo()).toEqual(info)
    expect(await client.cancelArchive(newArchiveKey())).toBe(true)
  })

  it('does not let a server choose the host or the path that is asked for the bytes', async () => {
    let asked = 0
    await using other = await serve((_, response) => {
      asked++
      response.end('secret')
    })
    const { host } = new URL(other.url)
    await using client = createSheafClient(other)
    const hrefs = [
      `@${host}/archives/x/a.zip`,
      `.${host}/archives/x/a.zip`,
      `//${host}/archives/x/a.zip`,
      `${other.url}archives/x/a.zip`,
      '/archives/../secret/a.zip',
      '/archives/%2e%2e/a.zip',
      '/archives/x/..',
      '/archives\\x\\a.zip',
      '/archives/x\t/a.zip',
      '/archives/x/a.zip?b.zip',
      '/archives/x/y/a.zip',
      '/trpc/x/a.zip',
      'archives/x/a.zip',
      '',
    ]
    for (const href of hrefs) {
      const got = client.download(href, new PassThrough())
      await expect(got, href).rejects.toMatchObject({ name: 'DownloadError', code: 'REFUSED' })
      const event = client.download({ href }, new PassThrough())
      await expect(event, href).rejects.toMatchObject({ code: 'REFUSED' })
    }
    expect(asked).toBe(0)
  })

  it('lists entries over all pages, and asks for a page only when it is read', async () => {
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

  it('makes a key if none is given, and returns it', async () => {
    await using client = createSheafClient({ url: 'http://127.0.0.1:9' })
    const { archiveKey } = client.createArchive({ entries: ['http://x/'] })
    expect(archiveKey).toMatch(/^[\w-]{32}$/)
    expect(client.createArchive({ entries: ['http://x/'], archiveKey }).archiveKey).toBe(archiveKey)
  })

  describe('that makes an archive', () => {
    const accepted = { type: 'accepted', archiveId: 'id', href: '/archives/id/a.zip' } as AcceptedEvent

    /** Makes an archive and returns its first event. */
    async function firstEvent(url: string, entries = ['http://origin.test/a']) {
      await using client = createSheafClient({ url, giveUpAfterMs: 300 })
      for await (const event of client.createArchive({ entries })) return event
      return null
    }

    /** Records by which transport each manifest came. */
    async function serveBoth() {
      const ways: string[] = []
      const apiOf = (way: string): Partial<ArchiveApi> => ({
        async submit() {
          ways.push(way)
          return accepted
        },
        async *watch(_, __, signal) {
          yield { id: '1', event: accepted }
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
        },
      })
      const server = await serve(handlerOf(apiOf('call')), (wss) =>
        applyWSSHandler({ wss, router: createRouter(), createContext: contextOf(apiOf('socket')) }),
      )
      return Object.assign(server, { ways })
    }

    it('submits it over the socket, or by a call if the manifest is large', async () => {
      await using server = await serveBoth()
      expect(await firstEvent(server.url)).toEqual(accepted)
      const many = Array.from({ length: 3_000 }, (_, index) => `http://origin.test/${index}`)
      expect(await firstEvent(server.url, many)).toEqual(accepted)
      expect(server.ways).toEqual(['socket', 'call'])
    })

    it('gets the acceptance if no socket can be opened', async () => {
      await using server = await serve(handlerOf({ submit: async () => accepted }))
      expect(await firstEvent(server.url)).toEqual(accepted)
    })

    it('submits it by a call if a socket opens but stays silent', async () => {
      await using server = await serve(handlerOf({ submit: async () => accepted }), () => {})
      expect(await firstEvent(server.url)).toEqual(accepted)
    }, 15_000)

    it('throws the reason of a refusal over either transport', async () => {
      const submit = () => Promise.reject(new Refusal('KEY_CONFLICT'))
      const refused = expect.objectContaining({ refusal: expect.objectContaining({ code: 'KEY_CONFLICT' }) })
      await using withSocket = await serve(
        (_, response) => void response.writeHead(500).end(),
        (wss) => applyWSSHandler({ wss, router: createRouter(), createContext: contextOf({ submit }) }),
      )
      await expect(firstEvent(withSocket.url)).rejects.toEqual(refused)
      await using without = await serve(handlerOf({ submit }))
      await expect(firstEvent(without.url)).rejects.toEqual(refused)
    })

    it('gets the acceptance if watching is refused for now', async () => {
      const watch: ArchiveApi['watch'] = async function* () {
        yield* []
        throw new Refusal('BUSY')
      }
      const api: Partial<ArchiveApi> = { submit: async () => accepted, watch }
      await using server = await serve(handlerOf(api), (wss) =>
        applyWSSHandler({ wss, router: createRouter(), createContext: contextOf(api) }),
      )
      expect(await firstEvent(server.url)).toEqual(accepted)
    })

    it('ends when the client is closed', async () => {
      await using server = await serveBoth()
      const client = createSheafClient({ url: server.url })
      const told: ArchiveEvent[] = []
      const watching = (async () => {
        for await (const event of client.createArchive({ entries: ['http://origin.test/a'] })) told.push(event)
      })()
      watching.catch(() => {})
      await until(() => told.length > 0, { what: 'its acceptance' })
      await client.close()
      await expect(watching).rejects.toThrow('closed')
    })

    it('says that the server is not a sheaf server', async () => {
      await using page = await serve((_, response) => void response.writeHead(404).end('<html>'))
      await expect(firstEvent(page.url)).rejects.toThrow(/no sheaf server answers at http/)
    })
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
  ])('reports that %s is not a sheaf server', async (_, listener) => {
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

  it('downloads nothing that is not the href of an archive', async () => {
    await using client = createSheafClient({ url: 'http://127.0.0.1:9' })
    await expect(client.download('/archives/x/file.exe', 'x')).rejects.toThrow('not the href of an archive')
  })
})
