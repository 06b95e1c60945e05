// What the compiler promises an integrator. tsc checks this file; running it does little more than count it.
import type { createTRPCClient, TRPCClientError } from '@trpc/client'
import { describe, expectTypeOf, it } from 'vitest'
import type { ArchivePlan, EntryPage, ServerInfo } from '#contracts/api.ts'
import type { Connection } from '#contracts/client.ts'
import type { AcceptedEvent, ArchiveEvent } from '#contracts/events.ts'
import type { RefusalData } from '#contracts/failures.ts'
import type { AppRouter } from '#contracts/router.ts'
import type { createSheafClient } from '../../client-node/index.ts'

type Trpc = ReturnType<typeof createTRPCClient<AppRouter>>
/** tsc also checks functions that are never called, so nothing has to run. */
const trpc = {} as Trpc
const watched = { archiveKey: 'key' }
const asked = { archiveKey: 'key', entries: ['url', { url: 'url', name: 'name' }] }
type Told = { id: string; data: ArchiveEvent }

describe('types', () => {
  it('give a subscription exactly its id and an event', () => {
    void (() => {
      trpc.createArchive.subscribe(asked, { onData: (told) => expectTypeOf(told).toEqualTypeOf<Told>() })
      trpc.watchArchive.subscribe(watched, { onData: (told) => expectTypeOf(told).toEqualTypeOf<Told>() })
    })
  })

  it('give our own clients exactly the events', () => {
    type Yielded<T> = T extends AsyncIterable<infer Item> ? Item : never
    expectTypeOf<Yielded<ReturnType<Connection['createArchive']>>>().toEqualTypeOf<ArchiveEvent>()
    expectTypeOf<Yielded<ReturnType<Connection['watchArchive']>>>().toEqualTypeOf<ArchiveEvent>()
    type Client = ReturnType<typeof createSheafClient>
    expectTypeOf<Yielded<ReturnType<Client['createArchive']>>>().toEqualTypeOf<ArchiveEvent>()
  })

  it('give a failed call its typed reason or null', () => {
    type Data = NonNullable<TRPCClientError<AppRouter>['data']>
    expectTypeOf<Data['refusal']>().toEqualTypeOf<RefusalData | null>()
  })

  it('give each call the type of its answer', () => {
    type Answer<T extends (...args: never[]) => unknown> = Awaited<ReturnType<T>>
    expectTypeOf<Answer<Trpc['submitArchive']['mutate']>>().toEqualTypeOf<AcceptedEvent>()
    expectTypeOf<Answer<Trpc['listEntries']['query']>>().toEqualTypeOf<EntryPage>()
    expectTypeOf<Answer<Trpc['planArchive']['query']>>().toEqualTypeOf<ArchivePlan>()
    expectTypeOf<Answer<Trpc['cancelArchive']['mutate']>>().toEqualTypeOf<{ cancelled: boolean }>()
    expectTypeOf<Answer<Trpc['echo']['mutate']>>().toEqualTypeOf<{ text: string }>()
    expectTypeOf<Answer<Trpc['serverInfo']['query']>>().toEqualTypeOf<ServerInfo>()
  })

  it('refuse input that the contract does not accept', () => {
    type Format = NonNullable<Parameters<Trpc['submitArchive']['mutate']>[0]['format']>
    expectTypeOf<Format>().toEqualTypeOf<'zip' | 'tar' | 'tar.gz'>()
    // @ts-expect-error: a cursor belongs to watching, not to submitting
    void (() => trpc.submitArchive.mutate({ archiveKey: 'k', entries: [], lastEventId: '1' }))
    // @ts-expect-error: entries are URLs, or objects that have one
    void (() => trpc.submitArchive.mutate({ archiveKey: 'k', entries: [1] }))
  })
})
