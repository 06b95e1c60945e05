// How large a list may be, to the entry, the byte and the character. A list that is too large leaves nothing behind.
import { describe, expect, it } from 'vitest'
import { MAX_URL_LENGTH } from '#contracts/archive.ts'
import { newArchiveKey } from '#contracts/client.ts'
import { type Caller, call, refusalOf, type TransportName } from '../contract/callers.ts'
import type { TestServer } from '../support/server.ts'
import { completed, eachTestItsWorld, spooled, watch } from './world.ts'

const world = eachTestItsWorld()

/** Bytes of a manifest of one entry besides its URL. */
const OVERHEAD_BYTES = 5

/** The first list must be accepted, though none of its entries is a URL. The second must be refused and leave nothing behind. */
async function submitBoth(server: TestServer, { trpc, watch }: Caller, fits: string[], exceeds: string[]) {
  const taken = { archiveKey: newArchiveKey(), entries: fits }
  expect(await trpc.submitArchive.mutate(taken)).toMatchObject({ type: 'accepted', totalEntries: fits.length })
  expect((await watch({ archiveKey: taken.archiveKey }).ended).at(-1)?.event).toMatchObject({ code: 'NO_ENTRIES' })
  const acceptedBefore = server.log.split('archive accepted').length
  const refused = { archiveKey: newArchiveKey(), entries: exceeds }
  const refusal = await refusalOf(trpc.submitArchive.mutate(refused))
  const { archiveKey } = refused
  expect(await refusalOf(trpc.listEntries.query({ archiveKey }))).toMatchObject({ code: 'NOT_FOUND' })
  expect(await spooled(server)).toEqual([])
  expect(server.log.split('archive accepted')).toHaveLength(acceptedBefore)
  return refusal
}

describe.each<TransportName>(['http', 'websocket'])('over %s', (transport) => {
  it('accepts the maximal number of entries, and refuses a list with one more as a whole', async () => {
    const server = await world.start()
    await using caller = call(transport, server.url)
    const { limits } = await caller.trpc.serverInfo.query()
    expect(limits.maxEntries).toBe(20_000)
    const refusal = await submitBoth(server, caller, Array(20_000).fill('x'), Array(20_001).fill('x'))
    expect(refusal).toMatchObject({ code: 'TOO_MANY_ENTRIES', retryable: false, httpStatus: 400 })
  })

  it('accepts a manifest of the maximal size, and refuses one with a byte more as a whole', async () => {
    const server = await world.start()
    await using caller = call(transport, server.url)
    const { limits } = await caller.trpc.serverInfo.query()
    const maxBytes = limits.maxManifestBytes - OVERHEAD_BYTES
    // Bytes count and not characters. These characters have two and four bytes.
    for (const char of ['ä', '\u{1f600}']) {
      const size = Buffer.byteLength(char)
      const most = char.repeat(maxBytes / size) + 'x'.repeat(maxBytes % size)
      expect(Buffer.byteLength(most)).toBe(maxBytes)
      const refusal = await submitBoth(server, caller, [most], [`${most}x`])
      expect(refusal).toMatchObject({ code: 'MANIFEST_TOO_LARGE', retryable: false, httpStatus: 413 })
    }
  })

  it('applies limits from the settings in the same way', async () => {
    const server = await world.start({ SHEAF_MAX_ENTRIES: '3', SHEAF_MAX_MANIFEST_BYTES: `${1_000 + OVERHEAD_BYTES}` })
    await using caller = call(transport, server.url)
    const many = await submitBoth(server, caller, ['a', 'b', 'c'], ['a', 'b', 'c', 'd'])
    expect(many.code).toBe('TOO_MANY_ENTRIES')
    const large = await submitBoth(server, caller, ['x'.repeat(1_000)], ['x'.repeat(1_001)])
    expect(large.code).toBe('MANIFEST_TOO_LARGE')
  })
})

it('requests a URL of the maximal length in full, and does not request one with a character more', async () => {
  const { origin } = world
  const server = await world.start()
  const connection = world.client(server.url)
  const longest = `${origin.url}/bytes/10/`.padEnd(MAX_URL_LENGTH, 'x')
  const watched = watch(connection.createArchive({ archiveKey: newArchiveKey(), entries: [longest, `${longest}y`] }))
  const { sealedEntries, failedEntries } = await completed(watched.end)
  expect({ sealedEntries, failedEntries }).toEqual({ sealedEntries: 1, failedEntries: 1 })
  expect(origin.requests.map(({ path }) => origin.url + path)).toEqual([longest])
  const failures = watched.told.filter((event) => event.type === 'file-failed')
  expect(failures).toMatchObject([{ index: 1, code: 'BAD_URL', attempts: 0, url: longest.slice(0, 2_048) }])
})
