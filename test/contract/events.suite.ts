// Order, cursors and resuming of events, and that an archive does not depend on a connection.
import { describe, expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import { isTerminal } from '#contracts/events.ts'
import { gate, status } from '../support/behaviours.ts'
import { checkStream, type Told } from '../support/event-schemas.ts'
import { until } from '../support/wait.ts'
import { call } from './callers.ts'
import { client, collect, type Deployment, uniquePath } from './deployment.ts'

const outcomes = (told: readonly Told[]) =>
  told.filter(({ event }) => event.type === 'file-failed' || isTerminal(event)).map(({ id, event }) => ({ id, event }))

export function eventsSuite(deployment: () => Deployment): void {
  describe.each(['websocket', 'http'] as const)('events over %s', (transport) => {
    it('resumes after any id with exactly the later failures and the end', async () => {
      const { url, origin } = deployment()
      await using server = call(transport, url)
      const archiveKey = newArchiveKey()
      const missing = origin.serve(`${uniquePath(origin, 'missing')}*`, status(404)).slice(0, -1)
      const kept = `${origin.url}/bytes/10/kept`
      const entries = Array.from({ length: 30 }, (_, index) => (index % 3 === 0 ? kept : `${missing}?${index}`))
      await server.trpc.submitArchive.mutate({ archiveKey, entries })
      const live = await server.watch({ archiveKey }).ended
      checkStream(live)
      const all = outcomes(live)
      expect(all).toHaveLength(21)

      const backfilled = await server.watch({ archiveKey }).ended
      checkStream(backfilled)
      expect(backfilled.map(({ event }) => event.type)).toEqual([
        'accepted',
        ...new Array(20).fill('file-failed'),
        'complete',
      ])
      expect(outcomes(backfilled)).toEqual(all)

      for (const { id: lastEventId } of [...live, ...backfilled]) {
        const resumed = await server.watch({ archiveKey, lastEventId }).ended
        checkStream(resumed, lastEventId)
        const after = all.filter(({ id, event }) => isTerminal(event) || Number(id) > Number(lastEventId))
        expect(resumed).toEqual(after)
      }
    })

    it('sends a watcher who comes late all failures so far, one progress, and the rest as it happens', async () => {
      const { url, origin } = deployment()
      await using server = call(transport, url)
      const archiveKey = newArchiveKey()
      const held = gate(status(404))
      const late = origin.serve(uniquePath(origin, 'late'), held.behaviour)
      await server.trpc.submitArchive.mutate({ archiveKey, entries: [late, 'no url', `${origin.url}/bytes/10/x`] })
      const first = server.watch({ archiveKey })
      const types = (told: readonly Told[]) => told.map(({ event }) => event.type)
      await until(() => types(first.told).includes('file-failed'), { what: 'the first failure' })
      await held.waitFor(1)

      const cursor = first.told.at(-1)!.id
      const second = server.watch({ archiveKey })
      const resumed = server.watch({ archiveKey, lastEventId: cursor })
      await until(() => second.told.length >= 3 && resumed.told.length >= 1, { what: 'both backfills' })
      expect(types(second.told).slice(0, 3)).toEqual(['accepted', 'file-failed', 'progress'])
      expect(second.told[2]!.event).toMatchObject({ failedEntries: 1, totalEntries: 3 })
      expect(types(resumed.told)[0]).toBe('progress')

      held.open()
      const ends = await Promise.all([first, second, resumed].map(({ ended }) => ended))
      for (const told of ends.slice(0, 2)) checkStream(told)
      checkStream(ends[2]!, cursor)
      expect(outcomes(ends[0]!)).toEqual(outcomes(ends[1]!))
      expect(outcomes(ends[2]!)).toEqual(outcomes(ends[0]!).slice(1))
    })

    it('goes on building when one watcher leaves and another one comes', async () => {
      const { url, origin } = deployment()
      await using server = call(transport, url)
      const archiveKey = newArchiveKey()
      const held = gate(status(200, {}, 'let through'))
      const path = uniquePath(origin, 'held')
      const entries = [origin.serve(path, held.behaviour), `${origin.url}/bytes/9/y`]
      await server.trpc.submitArchive.mutate({ archiveKey, entries })
      const first = server.watch({ archiveKey })
      await held.waitFor(1)
      first.leave()
      const second = server.watch({ archiveKey })
      await until(() => second.told.length > 0, { what: 'the second watcher' })
      held.open()
      expect((await second.ended).at(-1)!.event).toMatchObject({ type: 'complete', sealedEntries: 2 })
      expect(origin.count(path)).toBe(1)
    })
  })

  it('sends all events again to a watcher who names an event that this archive never had', async () => {
    const { url } = deployment()
    await using server = call('websocket', url)
    const archiveKey = newArchiveKey()
    await server.trpc.submitArchive.mutate({ archiveKey, entries: ['no url'] })
    const told = await server.watch({ archiveKey }).ended
    expect(await server.watch({ archiveKey, lastEventId: '999' }).ended).toEqual(
      told.filter(({ event }) => event.type !== 'progress'),
    )
  })

  describe('our own client', () => {
    it('yields the events of an archive, the last one being its end', async () => {
      const { url, origin } = deployment()
      await using server = client(url)
      const events = await collect(
        server.createArchive({ archiveKey: newArchiveKey(), entries: [`${origin.url}/bytes/5/z`, 'no url'] }),
      )
      const types = events.map(({ type }) => type).filter((type) => type !== 'progress')
      expect(types).toEqual(['accepted', 'file-failed', 'complete'])
    })

    it('rejects with the typed reason of a refusal', async () => {
      await using server = client(deployment().url)
      const watching = collect(server.watchArchive(newArchiveKey()))
      await expect(watching).rejects.toMatchObject({ name: 'RefusedError', refusal: { code: 'NOT_FOUND' } })
    })
  })
}
