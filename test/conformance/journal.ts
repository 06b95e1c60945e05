// What every journal must do, however it is implemented.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Journal, StaleSeqError } from '../../server/ports/journal.ts'
import {
  abortedFact,
  archiveSealedFact,
  failedFact,
  newArchiveId,
  requestOf,
  sealedFact,
  stagedFact,
} from '../support/archives.ts'

export interface JournalFixture extends AsyncDisposable {
  readonly journal: Journal
  /** Closes the journal and opens it again. */
  reopen(): Promise<void>
}

export function journalSuite(name: string, makeJournal: () => Promise<JournalFixture>): void {
  describe(`the journal contract: ${name}`, () => {
    let fixture: JournalFixture

    beforeEach(async () => {
      fixture = await makeJournal()
    })

    afterEach(async () => {
      await fixture[Symbol.asyncDispose]()
    })

    async function accepted(overrides: Parameters<typeof requestOf>[0] = {}): Promise<string> {
      const request = requestOf(overrides)
      await fixture.journal.accept(request, ['http://a.test/', 'http://b.test/', 'http://c.test/'], 'client')
      return request.archiveId
    }

    it('keeps the request exactly as it was, under seq 1 and generation 1', async () => {
      const request = requestOf({ name: 'naïve "name" \ud83d\ude00.zip', onEntryFailure: 'abort', format: 'tar.gz' })
      const manifest = ['http://a.test/\u0000\ud800', { url: 'x', name: 'ü/\u2028' }, { url: '' }]
      const { record, created } = await fixture.journal.accept(request, manifest, 'somebody')
      expect(created).toBe(true)
      const journalBytes = Buffer.byteLength(JSON.stringify(manifest))
      const kept = { client: 'somebody', journalBytes, swept: false }
      expect(record).toEqual({ ...request, lastSeq: 1, generation: 1, terminal: null, ...kept })
      expect(await fixture.journal.get(request.archiveId)).toEqual(record)
      expect(await fixture.journal.manifest(request.archiveId)).toEqual(manifest)
    })

    it('returns the existing record when an id is accepted again, and changes nothing', async () => {
      const first = requestOf({ manifestHash: 'one' })
      await fixture.journal.accept(first, ['http://a.test/'], 'one')
      await fixture.journal.append(first.archiveId, 1, [failedFact(0)])
      const again = await fixture.journal.accept(
        { ...first, manifestHash: 'two', name: 'other.zip', nonce: 'BBBBBBBBBBB' },
        ['http://b.test/'],
        'two',
      )
      expect(again.created).toBe(false)
      expect(again.record).toMatchObject({ ...first, lastSeq: 2, generation: 1, terminal: null, client: 'one' })
      expect(await fixture.journal.manifest(first.archiveId)).toEqual(['http://a.test/'])
    })

    it('creates an archive once, even if many callers accept it at the same time', async () => {
      const request = requestOf()
      const answers = await Promise.all(Array.from({ length: 20 }, () => fixture.journal.accept(request, [], '')))
      expect(answers.filter(({ created }) => created)).toHaveLength(1)
    })

    it('knows nothing of an archive that was never accepted', async () => {
      const id = newArchiveId()
      expect(await fixture.journal.get(id)).toBeNull()
      expect(await fixture.journal.manifest(id)).toEqual([])
      expect(await fixture.journal.facts(id, 0, 10)).toEqual([])
      await expect(fixture.journal.append(id, 1, [failedFact(0)])).rejects.toThrow(StaleSeqError)
    })

    it('numbers facts after the last seq, and reads them back in order and in pages', async () => {
      const id = await accepted()
      const facts = [stagedFact(1), sealedFact(0, { modifiedMs: 5, proposedName: '"ü\n' }), failedFact(2)]
      await fixture.journal.append(id, 1, facts.slice(0, 2))
      await fixture.journal.append(id, 3, facts.slice(2))
      const stored = facts.map((fact, index) => ({ ...fact, seq: index + 2 }))
      expect(await fixture.journal.facts(id, 1, 10)).toEqual(stored)
      expect(await fixture.journal.facts(id, 2, 1)).toEqual([stored[1]])
      expect(await fixture.journal.facts(id, 4, 10)).toEqual([])
      expect((await fixture.journal.get(id))?.lastSeq).toBe(4)
    })

    it('takes no fact at all from a builder whose seq is behind or ahead', async () => {
      const id = await accepted()
      await fixture.journal.append(id, 1, [failedFact(0)])
      for (const stale of [0, 1, 3]) {
        await expect(fixture.journal.append(id, stale, [failedFact(1)])).rejects.toThrow(StaleSeqError)
      }
      expect(await fixture.journal.facts(id, 1, 10)).toHaveLength(1)
      await fixture.journal.append(id, 2, [failedFact(1)])
      expect((await fixture.journal.get(id))?.lastSeq).toBe(3)
    })

    it('lets exactly one of two builders win if both append at the same time', async () => {
      const id = await accepted()
      const results = await Promise.allSettled([1, 2, 3].map((n) => fixture.journal.append(id, 1, [failedFact(n)])))
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      expect(await fixture.journal.facts(id, 1, 10)).toHaveLength(1)
    })

    it('keeps archives apart', async () => {
      const [one, other] = [await accepted(), await accepted()]
      await fixture.journal.append(one, 1, [failedFact(0)])
      expect(await fixture.journal.facts(other, 1, 10)).toEqual([])
      expect((await fixture.journal.get(other))?.lastSeq).toBe(1)
    })

    it('reads only failures, after a seq and in pages', async () => {
      const id = await accepted()
      await fixture.journal.append(id, 1, [failedFact(2), stagedFact(1), failedFact(0), failedFact(3)])
      const failures = [
        { ...failedFact(2), seq: 2 },
        { ...failedFact(0), seq: 4 },
        { ...failedFact(3), seq: 5 },
      ]
      expect(await fixture.journal.failures(id, 0, 10)).toEqual(failures)
      expect(await fixture.journal.failures(id, 2, 1)).toEqual([failures[1]])
      expect(await fixture.journal.failures(id, 5, 10)).toEqual([])
    })

    it('reads the facts about some entries by their indices, in order of seq', async () => {
      const id = await accepted()
      const facts = [
        failedFact(3),
        stagedFact(1),
        failedFact(0),
        { type: 'rewound', generation: 2 },
        sealedFact(1),
      ] as const
      await fixture.journal.append(id, 1, facts)
      expect(await fixture.journal.entryFacts(id, 1, 3)).toEqual([
        { ...facts[1], seq: 3 },
        { ...facts[4], seq: 6 },
      ])
      expect(await fixture.journal.entryFacts(id, 1, 1)).toEqual([])
    })

    it('returns the generation of the last rewind', async () => {
      const id = await accepted()
      await fixture.journal.append(id, 1, [{ type: 'rewound', generation: 2 }, sealedFact(0)])
      expect(await fixture.journal.get(id)).toMatchObject({ generation: 2, lastSeq: 3, terminal: null })
    })

    it.each([archiveSealedFact(9_000), abortedFact(9_000)])(
      'ends an archive with $type, for good',
      async (terminal) => {
        const id = await accepted()
        await fixture.journal.append(id, 1, [sealedFact(0), terminal])
        expect((await fixture.journal.get(id))?.terminal).toEqual({ ...terminal, seq: 3 })
        await expect(fixture.journal.append(id, 3, [failedFact(1)])).rejects.toThrow(StaleSeqError)
        expect(await fixture.journal.unfinished()).toEqual([])
      },
    )

    it('lists what is unfinished, oldest first', async () => {
      const late = await accepted({ acceptedAtMs: 3_000 })
      const early = await accepted({ acceptedAtMs: 1_000 })
      const ended = await accepted({ acceptedAtMs: 2_000 })
      await fixture.journal.append(ended, 1, [abortedFact(9_000)])
      const unfinished = await fixture.journal.unfinished()
      expect(unfinished.map(({ archiveId }) => archiveId)).toEqual([early, late])
      expect(unfinished[0]).toEqual(await fixture.journal.get(early))
    })

    it('lists archives that have expired, not before their time, and never unfinished ones', async () => {
      await accepted()
      const id = await accepted()
      await fixture.journal.append(id, 1, [archiveSealedFact(5_000)])
      expect(await fixture.journal.expired(4_999)).toEqual([])
      expect(await fixture.journal.expired(5_000)).toEqual([id])
    })

    it('keeps only the id and the hash of a buried archive, and does not list it for sweeping again', async () => {
      const id = await accepted({ manifestHash: 'kept', name: 'secret plans.zip' })
      await fixture.journal.append(id, 1, [failedFact(0), archiveSealedFact(5_000)])
      await fixture.journal.bury(id, 6_000)
      const tombstone = await fixture.journal.get(id)
      expect(tombstone).toMatchObject({ archiveId: id, manifestHash: 'kept', swept: true, terminal: null })
      expect(JSON.stringify(tombstone)).not.toContain('secret')
      expect(await fixture.journal.manifest(id)).toEqual([])
      expect(await fixture.journal.facts(id, 0, 10)).toEqual([])
      expect(await fixture.journal.expired(99_000)).toEqual([])
      expect(await fixture.journal.kept()).toEqual([])
    })

    it('can bury an unfinished archive, which then is not built again and takes no facts', async () => {
      const id = await accepted()
      await fixture.journal.bury(id, 6_000)
      expect(await fixture.journal.unfinished()).toEqual([])
      await expect(fixture.journal.append(id, 1, [failedFact(0)])).rejects.toThrow(StaleSeqError)
      expect(await fixture.journal.get(id)).toMatchObject({ swept: true })
    })

    it('returns the tombstone when a buried id is accepted again', async () => {
      const request = requestOf()
      await fixture.journal.accept(request, [], '')
      await fixture.journal.bury(request.archiveId, 6_000)
      const { record, created } = await fixture.journal.accept(request, ['http://a.test/'], '')
      expect([created, record.swept]).toEqual([false, true])
    })

    it('forgets tombstones made before a time, and nothing else', async () => {
      const [buried, kept, living] = [await accepted(), await accepted(), await accepted()]
      await fixture.journal.bury(buried, 5_999)
      await fixture.journal.bury(kept, 6_000)
      await fixture.journal.forget(6_000)
      expect(await fixture.journal.get(buried)).toBeNull()
      expect(await fixture.journal.get(kept)).toMatchObject({ swept: true })
      expect(await fixture.journal.kept()).toEqual([living])
    })

    it('keeps the size of manifest and facts and the name of the client, but not for a buried archive', async () => {
      const request = requestOf()
      const manifest = ['http://a.test/\u00fc']
      await fixture.journal.accept(request, manifest, 'me')
      const facts = [failedFact(0), archiveSealedFact(5_000)]
      await fixture.journal.append(request.archiveId, 1, facts)
      const { client, journalBytes } = (await fixture.journal.get(request.archiveId))!
      expect(client).toBe('me')
      expect(journalBytes).toBe(Buffer.byteLength(JSON.stringify(manifest) + JSON.stringify(facts)))
      await fixture.journal.bury(request.archiveId, 6_000)
      expect(await fixture.journal.get(request.archiveId)).toMatchObject({ client: '', journalBytes: 0, nonce: '' })
    })

    it('lists what each archive holds and for which client, but no buried archive', async () => {
      const ids = [await accepted(), await accepted(), await accepted(), await accepted()] as const
      await fixture.journal.append(ids[1], 1, [archiveSealedFact(5_000)])
      await fixture.journal.append(ids[2], 1, [abortedFact(5_000)])
      await fixture.journal.bury(ids[3], 6_000)
      const holdings = await fixture.journal.holdings()
      const journalBytes = async (id: string) => (await fixture.journal.get(id))!.journalBytes
      const of = async (archiveId: string, state: string) => ({
        archiveId,
        client: 'client',
        journalBytes: await journalBytes(archiveId),
        state,
      })
      expect(holdings).toHaveLength(3)
      expect(holdings).toEqual(
        expect.arrayContaining([
          await of(ids[0], 'unfinished'),
          await of(ids[1], 'sealed'),
          await of(ids[2], 'aborted'),
        ]),
      )
    })

    it('ends an archive once, whatever its seq, which makes its builder stale', async () => {
      const id = await accepted()
      await fixture.journal.append(id, 1, [sealedFact(0), failedFact(1)])
      expect(await fixture.journal.end(id, abortedFact(9_000))).toBe(true)
      expect(await fixture.journal.get(id)).toMatchObject({ lastSeq: 4, terminal: { ...abortedFact(9_000), seq: 4 } })
      expect(await fixture.journal.facts(id, 3, 10)).toEqual([{ ...abortedFact(9_000), seq: 4 }])
      expect(await fixture.journal.expired(9_000)).toEqual([id])
      await expect(fixture.journal.append(id, 3, [failedFact(2)])).rejects.toThrow(StaleSeqError)
      expect(await fixture.journal.end(id, abortedFact(1))).toBe(false)
      expect(await fixture.journal.end(newArchiveId(), abortedFact(1))).toBe(false)
      expect(await fixture.journal.get(id)).toMatchObject({ lastSeq: 4, terminal: { expiresAtMs: 9_000 } })
    })

    it('does not end an archive that is sealed or buried', async () => {
      const [sealed, buried] = [await accepted(), await accepted()]
      await fixture.journal.append(sealed, 1, [archiveSealedFact(5_000)])
      await fixture.journal.bury(buried, 6_000)
      for (const id of [sealed, buried]) expect(await fixture.journal.end(id, abortedFact(1))).toBe(false)
      expect((await fixture.journal.get(sealed))?.terminal?.type).toBe('archive-sealed')
    })

    it('returns facts of unknown types unchanged', async () => {
      const id = await accepted()
      const strange = { type: 'entry-blessed', index: 1, by: 'a later version' }
      await fixture.journal.append(id, 1, [failedFact(0), strange as never])
      expect(await fixture.journal.facts(id, 2, 10)).toEqual([{ ...strange, seq: 3 }])
      expect(await fixture.journal.entryFacts(id, 1, 2)).toEqual([{ ...strange, seq: 3 }])
    })

    it('adds up the daily usage of clients, and forgets it with the tombstones of that time', async () => {
      const { journal } = fixture
      await journal.addUsage('a', 20_000, 5)
      await journal.addUsage('a', 20_000, 2 ** 40)
      await journal.addUsage('b', 20_000, 7)
      await journal.addUsage('a', 20_001, 1)
      const later = { client: 'a', day: 20_001, bytes: 1 }
      expect(await journal.usageSince(20_000)).toEqual([
        { client: 'a', day: 20_000, bytes: 2 ** 40 + 5 },
        { client: 'b', day: 20_000, bytes: 7 },
        later,
      ])
      expect(await journal.usageSince(20_001)).toEqual([later])
      await journal.forget(20_001 * 86_400_000 + 1)
      await fixture.reopen()
      expect(await fixture.journal.usageSince(0)).toEqual([later])
    })

    it('gives back all free space in a bounded number of calls, and loses no data', async () => {
      const id = await accepted()
      const flood = await Promise.all(Array.from({ length: 20 }, () => accepted()))
      for (const each of flood) {
        await fixture.journal.append(
          each,
          1,
          Array.from({ length: 2_000 }, (_, index) => failedFact(index)),
        )
        await fixture.journal.bury(each, 6_000)
      }
      let calls = 0
      while (await fixture.journal.reclaim()) expect(++calls).toBeLessThan(1_000)
      expect(await fixture.journal.manifest(id)).toHaveLength(3)
    })

    it('holds everything when it is opened again', async () => {
      const id = await accepted()
      await fixture.journal.append(id, 1, [sealedFact(0), failedFact(1)])
      const before = [await fixture.journal.get(id), await fixture.journal.facts(id, 1, 10)]
      await fixture.reopen()
      expect([await fixture.journal.get(id), await fixture.journal.facts(id, 1, 10)]).toEqual(before)
      await fixture.journal.append(id, 3, [failedFact(2)])
      expect((await fixture.journal.get(id))?.lastSeq).toBe(4)
    })
  })
}
