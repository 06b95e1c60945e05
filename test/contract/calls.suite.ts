// Procedures and refusals, each over both transports.
import superjson from 'superjson'
import { describe, expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import { ask } from '../support/ask.ts'
import { status } from '../support/behaviours.ts'
import { checkStream } from '../support/event-schemas.ts'
import { until } from '../support/wait.ts'
import { call, follow, refusalOf } from './callers.ts'
import { type Deployment, uniquePath } from './deployment.ts'

export function callsSuite(deployment: () => Deployment): void {
  describe.each(['websocket', 'http'] as const)('calls over %s', (transport) => {
    const caller = (protocol?: string) => call(transport, deployment().url, protocol)
    const file = (size = 100) => `${deployment().origin.url}/bytes/${size}/calls.bin`

    it('echoes a text', async () => {
      await using server = caller()
      expect(await server.trpc.echo.mutate({ text: 'ein Gruß \u{1f33e}' })).toEqual({ text: 'ein Gruß \u{1f33e}' })
    })

    it('returns its version, protocol, formats and limits', async () => {
      await using server = caller()
      const info = await server.trpc.serverInfo.query()
      expect(info).toMatchObject({ protocol: 1, formats: ['zip', 'tar', 'tar.gz'], version: expect.any(String) })
      for (const limit of Object.values(info.limits)) expect(limit).toBeGreaterThan(0)
      expect(info.limits.maxManifestBytes).toBeGreaterThan(0)
    })

    it('understands a client that uses plain superjson and leaves fields empty', async () => {
      await using server = call(transport, deployment().url, '1', superjson as never)
      const archiveKey = newArchiveKey()
      expect((await server.trpc.serverInfo.query()).protocol).toBe(1)
      const entries = [{ url: file(), name: undefined }]
      const input = { archiveKey, entries, name: undefined, format: undefined }
      expect(await server.trpc.submitArchive.mutate(input)).toMatchObject({ type: 'accepted', name: 'archive.zip' })
      const told = await server.watch({ archiveKey, lastEventId: undefined }).ended
      expect(told.at(-1)?.event.type).toBe('complete')
    })

    it('accepts a manifest, and sends its events until it is complete', async () => {
      await using server = caller()
      const archiveKey = newArchiveKey()
      const accepted = await server.trpc.submitArchive.mutate({ archiveKey, entries: [file()] })
      expect(accepted).toMatchObject({ type: 'accepted', totalEntries: 1, format: 'zip', name: 'archive.zip' })
      const told = await server.watch({ archiveKey }).ended
      checkStream(told)
      expect(told[0]!.event).toEqual(accepted)
      expect(told.at(-1)!.event).toMatchObject({ type: 'complete', href: accepted.href, sealedEntries: 1 })
    })

    it('submits and watches in one call, but not by a GET, which any link can cause', async () => {
      await using server = caller()
      const input = { archiveKey: newArchiveKey(), entries: [{ url: file(), name: 'a/b.bin' }] }
      const { ended } = follow((handlers) => server.trpc.createArchive.subscribe(input, handlers))
      if (transport === 'websocket') {
        const told = await ended
        checkStream(told)
        expect(told.at(-1)!.event).toMatchObject({ type: 'complete', sealedEntries: 1, failedEntries: 0 })
        return
      }
      await expect(ended).rejects.toMatchObject({ data: { code: 'METHOD_NOT_SUPPORTED', httpStatus: 405 } })
      const { archiveKey } = input
      expect(await refusalOf(server.watch({ archiveKey }).ended)).toMatchObject({ code: 'NOT_FOUND' })
    })

    it('makes one build for the same key and manifest, which fetches each entry once', async () => {
      const { origin } = deployment()
      await using server = caller()
      await using other = caller()
      const path = uniquePath(origin)
      const archiveKey = newArchiveKey()
      const input = { archiveKey, entries: [origin.serve(path, status(200, {}, 'once'))] }
      const accepted = await Promise.all(
        Array.from({ length: 50 }, (_, index) => (index % 2 ? server : other).trpc.submitArchive.mutate(input)),
      )
      expect(new Set(accepted.map((event) => JSON.stringify(event))).size).toBe(1)
      const streams = await Promise.all([server, other].map((each) => each.watch({ archiveKey }).ended))
      expect(streams[0]!.at(-1)).toEqual(streams[1]!.at(-1))
      // The same holds when it is complete.
      expect(await server.trpc.submitArchive.mutate(input)).toEqual(accepted[0])
      expect(origin.count(path)).toBe(1)
    })

    it('treats { url } like the bare url, and spelled-out defaults like missing ones', async () => {
      await using server = caller()
      const archiveKey = newArchiveKey()
      const accepted = await server.trpc.submitArchive.mutate({ archiveKey, entries: [file()] })
      const entries = [{ url: file() }]
      const spelled = { archiveKey, entries, format: 'zip', onEntryFailure: 'skip', whenUnwatched: 'abort' } as const
      expect(await server.trpc.submitArchive.mutate(spelled)).toEqual(accepted)
    })

    it('lists the entries in pages, with the state of each', async () => {
      const { origin } = deployment()
      await using server = caller()
      const archiveKey = newArchiveKey()
      const missing = origin.serve(uniquePath(origin, 'missing'), status(404))
      const entries = [file(10), missing, { url: file(30), name: 'kept/name.bin' }, 'no url', file(50)]
      await server.trpc.submitArchive.mutate({ archiveKey, entries })
      await server.watch({ archiveKey }).ended
      const first = await server.trpc.listEntries.query({ archiveKey, limit: 2 })
      expect(first.nextCursor).toBe(2)
      const second = await server.trpc.listEntries.query({ archiveKey, cursor: 2, limit: 2 })
      expect(second.nextCursor).toBe(4)
      const last = await server.trpc.listEntries.query({ archiveKey, cursor: 4 })
      expect(last.nextCursor).toBeNull()
      const all = [...first.entries, ...second.entries, ...last.entries]
      expect(await server.trpc.listEntries.query({ archiveKey })).toEqual({ entries: all, nextCursor: null })
      expect(all.map(({ index, state, sizeBytes }) => [index, state, sizeBytes])).toEqual([
        [0, 'sealed', 10],
        [1, 'failed', null],
        [2, 'sealed', 30],
        [3, 'failed', null],
        [4, 'sealed', 50],
      ])
      expect(all[1]).toMatchObject({ url: missing, name: null, failure: { code: 'HTTP_STATUS', httpStatus: 404 } })
      expect(all[2]).toMatchObject({ name: 'kept/name.bin', failure: null, crc32: expect.any(Number) })
      expect(all[3]!.failure).toMatchObject({ code: 'BAD_URL', attempts: 0, retryable: false })
      expect(await server.trpc.listEntries.query({ archiveKey, cursor: 99 })).toEqual({ entries: [], nextCursor: null })
    })

    it('lists an entry as being fetched while it is', async () => {
      const { origin } = deployment()
      await using server = caller()
      const archiveKey = newArchiveKey()
      const slow = origin.serve(uniquePath(origin, 'slow'), (exchange) => exchange.gone())
      await server.trpc.submitArchive.mutate({ archiveKey, entries: [slow, file(20)] })
      const list = async () => (await server.trpc.listEntries.query({ archiveKey })).entries.map(({ state }) => state)
      await until(async () => (await list()).join() === 'fetching,staged', { what: 'one fetching, one staged' })
      await server.trpc.cancelArchive.mutate({ archiveKey })
    })

    it('cancels once, and reports it to everybody who watches', async () => {
      const { origin } = deployment()
      await using server = caller()
      const archiveKey = newArchiveKey()
      const path = uniquePath(origin, 'hanging')
      const hanging = origin.serve(path, (exchange) => exchange.gone())
      await server.trpc.submitArchive.mutate({ archiveKey, entries: [hanging] })
      const watching = server.watch({ archiveKey })
      await until(() => origin.count(path) === 1, { what: 'the request' })
      expect(await server.trpc.cancelArchive.mutate({ archiveKey })).toEqual({ cancelled: true })
      expect(await server.trpc.cancelArchive.mutate({ archiveKey })).toEqual({ cancelled: false })
      const told = await watching.ended
      checkStream(told)
      expect(told.at(-1)!.event).toMatchObject({ type: 'aborted', code: 'CANCELLED', retryable: false })
      // A later watcher gets the same events, and nothing is built again.
      const again = await server.watch({ archiveKey }).ended
      expect(again.at(-1)).toEqual(told.at(-1))
      expect(origin.count(path)).toBe(1)
    })

    it('does not cancel a complete archive, and keeps it', async () => {
      const { url } = deployment()
      await using server = caller()
      const archiveKey = newArchiveKey()
      const { href } = await server.trpc.submitArchive.mutate({ archiveKey, entries: [file()] })
      await server.watch({ archiveKey }).ended
      expect(await server.trpc.cancelArchive.mutate({ archiveKey })).toEqual({ cancelled: false })
      expect((await ask(url + href)).status).toBe(200)
    })

    it('ends the archive at the first failure if that is asked for', async () => {
      const { origin } = deployment()
      await using server = caller()
      const archiveKey = newArchiveKey()
      const hanging = origin.serve(uniquePath(origin, 'hanging'), (exchange) => exchange.gone())
      await server.trpc.submitArchive.mutate({ archiveKey, entries: [hanging, 'no url'], onEntryFailure: 'abort' })
      const told = await server.watch({ archiveKey }).ended
      checkStream(told)
      const events = told.map(({ event }) => event).filter(({ type }) => type !== 'progress')
      expect(events.slice(1)).toMatchObject([
        { type: 'file-failed', index: 1 },
        { type: 'aborted', code: 'ENTRY_FAILED' },
      ])
    })

    it('aborts an archive if none of its entries could be fetched', async () => {
      await using server = caller()
      const archiveKey = newArchiveKey()
      await server.trpc.submitArchive.mutate({ archiveKey, entries: ['no url', 'ftp://127.0.0.1/x'] })
      const told = await server.watch({ archiveKey }).ended
      checkStream(told)
      const outcomes = told.map(({ event }) => event).filter(({ type }) => type !== 'progress')
      expect(outcomes.map((event) => ('code' in event ? event.code : event.type))).toEqual([
        'accepted',
        'BAD_URL',
        'BAD_URL',
        'NO_ENTRIES',
      ])
    })

    it('plans an archive without fetching its files, and the archive then is as planned', async () => {
      const { url, origin } = deployment()
      await using server = caller()
      const [path, missing] = [uniquePath(origin, 'planned'), uniquePath(origin, 'missing')]
      const found = origin.serve(path, status(200, { 'content-type': 'text/plain' }, 'twelve bytes'))
      const entries = [found, origin.serve(missing, status(404)), { url: found, name: 'kept/name.bin' }, 'no url']
      const plan = await server.trpc.planArchive.query({ entries, name: 'trip', head: true })
      const asked = origin.requests.filter((request) => [path, missing].includes(request.path))
      // What is missing by HEAD is asked for once more, for its first byte.
      expect(asked.map(({ method }) => method)).toEqual(['HEAD', 'HEAD', 'HEAD', 'GET'])
      expect(plan).toMatchObject({ name: 'trip.zip', format: 'zip' })
      const name = `${path.slice(1)}.txt`
      const message = 'the origin answered with an error status'
      const failure = { code: 'HTTP_STATUS', message, retryable: false, httpStatus: 404 }
      expect(plan.entries).toEqual([
        { index: 0, name, sizeBytes: 12, asked: true, failure: null },
        { index: 1, name: null, sizeBytes: null, asked: true, failure },
        { index: 2, name: 'kept/name.bin', sizeBytes: 12, asked: true, failure: null },
        { index: 3, name: null, sizeBytes: null, asked: false, failure: expect.objectContaining({ code: 'BAD_URL' }) },
      ])

      const archiveKey = newArchiveKey()
      const { href } = await server.trpc.submitArchive.mutate({ archiveKey, entries, name: 'trip' })
      await server.watch({ archiveKey }).ended
      expect((await ask(url + href)).body).toHaveLength(plan.predictedBytes!)
      const made = (await server.trpc.listEntries.query({ archiveKey })).entries
      expect(made.map(({ name }) => name)).toEqual(plan.entries.map(({ name }) => name))
    })

    it('plans from the manifest alone, without any request, if HEAD is switched off', async () => {
      const { origin } = deployment()
      await using server = caller()
      const path = uniquePath(origin, 'unasked')
      const plan = await server.trpc.planArchive.query({ entries: [origin.url + path, 'no url'], format: 'tar' })
      expect(origin.count(path)).toBe(0)
      expect(plan).toMatchObject({ name: 'archive.tar', format: 'tar', predictedBytes: null })
      expect(plan.entries.map(({ name, asked, failure }) => [name, asked, failure?.code])).toEqual([
        [path.slice(1), false, undefined],
        [null, false, 'BAD_URL'],
      ])
    })

    it('stops planning when the client has left', async () => {
      const { origin } = deployment()
      const path = uniquePath(origin, 'unanswered')
      let given = false
      const hanging = origin.serve(path, async (exchange) => {
        try {
          await exchange.gone()
        } finally {
          given = true
        }
      })
      const leaving = new AbortController()
      const server = caller()
      const planning = server.trpc.planArchive.query({ entries: [hanging], head: true }, { signal: leaving.signal })
      planning.catch(() => {})
      await until(() => origin.count(path) === 1, { what: 'the request' })
      expect(given).toBe(false)
      leaving.abort()
      await server[Symbol.asyncDispose]()
      await until(() => given, { what: 'its end' })
    })

    describe('refuses with a typed reason', () => {
      it('another manifest under the same key', async () => {
        await using server = caller()
        const archiveKey = newArchiveKey()
        await server.trpc.submitArchive.mutate({ archiveKey, entries: [file(1)] })
        const refusal = await refusalOf(server.trpc.submitArchive.mutate({ archiveKey, entries: [file(2)] }))
        expect(refusal).toMatchObject({ code: 'KEY_CONFLICT', retryable: false, retryAfterMs: null, httpStatus: 409 })
      })

      it.runIf(transport === 'websocket')('another manifest under the same key, by a subscription', async () => {
        await using server = caller()
        const archiveKey = newArchiveKey()
        await server.trpc.submitArchive.mutate({ archiveKey, entries: [file(1)] })
        const input = { archiveKey, entries: [file(2)] }
        const { ended } = follow((handlers) => server.trpc.createArchive.subscribe(input, handlers))
        expect(await refusalOf(ended)).toMatchObject({ code: 'KEY_CONFLICT', httpStatus: 409 })
      })

      it('a key that has no archive', async () => {
        await using server = caller()
        const archiveKey = newArchiveKey()
        const expected = { code: 'NOT_FOUND', retryable: false, httpStatus: 404 }
        expect(await refusalOf(server.watch({ archiveKey }).ended)).toMatchObject(expected)
        expect(await refusalOf(server.trpc.listEntries.query({ archiveKey }))).toMatchObject(expected)
        expect(await refusalOf(server.trpc.cancelArchive.mutate({ archiveKey }))).toMatchObject(expected)
      })

      it.each<[string, object]>([
        ['a short key', { archiveKey: 'short', entries: ['http://a.test/'] }],
        ['a key with other characters', { archiveKey: `${'a'.repeat(30)}/`, entries: ['http://a.test/'] }],
        ['no entries', { archiveKey: newArchiveKey(), entries: [] }],
        ['entries that are none', { archiveKey: newArchiveKey(), entries: [1, null] }],
        ['thousands of them', { archiveKey: newArchiveKey(), entries: new Array(100_000).fill(0) }],
        ['an unknown format', { archiveKey: newArchiveKey(), entries: ['http://a.test/'], format: 'rar' }],
        ['no input', {}],
      ])('%s', async (_, input) => {
        await using server = caller()
        const refusal = await refusalOf(server.trpc.submitArchive.mutate(input as never))
        expect(refusal).toMatchObject({ code: 'BAD_INPUT', retryable: false, httpStatus: 400 })
        expect(refusal.message.length).toBeLessThan(700)
      })

      it('an invalid entry, naming its place and field', async () => {
        await using server = caller()
        const entries = ['http://a.test/', { url: 'http://a.test/', name: 'n'.repeat(5_000) }]
        const refusal = await refusalOf(server.trpc.submitArchive.mutate({ archiveKey: newArchiveKey(), entries }))
        expect(refusal).toMatchObject({ code: 'BAD_INPUT', retryable: false, httpStatus: 400 })
        expect(refusal.message).toContain('entries.1.name: ')
        const unfit = ['http://a.test/', 'http://b.test/', 7] as never
        expect((await refusalOf(server.trpc.planArchive.query({ entries: unfit }))).message).toContain('entries.2: ')
      })

      it('values that only superjson can express', async () => {
        await using server = call(transport, deployment().url, '1', superjson as never)
        const archiveKey = newArchiveKey()
        const value = new Date(0) as never
        const input = { archiveKey, entries: ['http://a.test/'] }
        const { trpc } = server
        for (const refused of [
          () => trpc.echo.mutate({ text: value }),
          () => trpc.submitArchive.mutate({ ...input, name: value }),
          () => trpc.planArchive.query({ entries: [value] }),
          () => trpc.listEntries.query({ archiveKey, cursor: 10n as never }),
          () => trpc.cancelArchive.mutate({ archiveKey, more: new Map() } as never),
          () => trpc.serverInfo.query(value),
          () => follow((handlers) => trpc.createArchive.subscribe({ ...input, name: value }, handlers)).ended,
          () => server.watch({ archiveKey, lastEventId: value }).ended,
        ]) {
          const refusal = await refusalOf(refused())
          expect(refusal).toMatchObject({ code: 'BAD_INPUT', retryable: false, httpStatus: 400 })
          expect(refusal.message).toContain('meta: ')
        }
      })

      it('compressed entries in a format that has none', async () => {
        await using server = caller()
        const input = {
          archiveKey: newArchiveKey(),
          entries: [file(1)],
          format: 'tar.gz' as const,
          compression: 'auto' as const,
        }
        const refusal = await refusalOf(server.trpc.submitArchive.mutate(input))
        expect(refusal).toMatchObject({ code: 'BAD_INPUT', retryable: false, httpStatus: 400 })
        expect(refusal?.message).toContain('compression')
      })

      it('an invalid cursor', async () => {
        await using server = caller()
        const refusal = await refusalOf(server.watch({ archiveKey: newArchiveKey(), lastEventId: 'x' }).ended)
        expect(refusal.code).toBe('BAD_INPUT')
      })

      it('more entries than it accepts', async () => {
        await using server = caller()
        const { limits } = await server.trpc.serverInfo.query()
        const entries = new Array(limits.maxEntries + 1).fill('x')
        expect(await refusalOf(server.trpc.planArchive.query({ entries }))).toMatchObject({ code: 'TOO_MANY_ENTRIES' })
        const refusal = await refusalOf(server.trpc.submitArchive.mutate({ archiveKey: newArchiveKey(), entries }))
        expect(refusal).toMatchObject({ code: 'TOO_MANY_ENTRIES', retryable: false, httpStatus: 400 })
      })

      it('a manifest of more bytes than it accepts', async () => {
        await using server = caller()
        const { limits } = await server.trpc.serverInfo.query()
        const entries = ['x'.repeat(limits.maxManifestBytes)]
        expect(await refusalOf(server.trpc.planArchive.query({ entries }))).toMatchObject({
          code: 'MANIFEST_TOO_LARGE',
        })
        const refusal = await refusalOf(server.trpc.submitArchive.mutate({ archiveKey: newArchiveKey(), entries }))
        expect(refusal).toMatchObject({ code: 'MANIFEST_TOO_LARGE', retryable: false, httpStatus: 413 })
      })

      it('another protocol', async () => {
        await using server = caller('2')
        const expected = { code: 'PROTOCOL_MISMATCH', retryable: false, httpStatus: 412 }
        expect(await refusalOf(server.trpc.serverInfo.query())).toMatchObject(expected)
        expect(await refusalOf(server.watch({ archiveKey: newArchiveKey() }).ended)).toMatchObject(expected)
      })
    })
  })

  it('answers a message over HTTP that is larger than any manifest with the typed reason', async () => {
    const { url } = deployment()
    const headers = { 'content-type': 'application/json' }
    await using server = call('http', url)
    const { limits } = await server.trpc.serverInfo.query()
    const body = JSON.stringify({ json: { text: 'x'.repeat(2 * limits.maxManifestBytes) } })
    const answer = await ask(`${url}/trpc/echo`, { method: 'POST', headers, body })
    expect(answer.status).toBe(413)
    expect(JSON.parse(answer.body.toString()).error.json.data.refusal.code).toBe('MANIFEST_TOO_LARGE')
  })

  it('shows nothing internal in the answer to an unknown call', async () => {
    const answer = await ask(`${deployment().url}/trpc/nothing`)
    expect(answer.status).toBe(404)
    expect(answer.body.toString()).not.toMatch(/node_modules|\.ts|stack/)
  })

  it('answers a plain GET for the server info, and a plain POST for a call', async () => {
    const { url } = deployment()
    const info = await ask(`${url}/trpc/serverInfo`)
    expect(JSON.parse(info.body.toString()).result.data.json.protocol).toBe(1)
    const echo = await ask(`${url}/trpc/echo`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"json":{"text":"hello"}}',
    })
    expect(JSON.parse(echo.body.toString())).toEqual({ result: { data: { json: { text: 'hello' } } } })
  })
}
