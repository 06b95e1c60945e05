// The events of an archive: first those in the journal, then new ones. None comes twice, and none is missing.
import { describe, expect, it } from 'vitest'
import { Refusal } from '../../../../contracts/failures.ts'
import type { Build } from '../../../../server/archives/build/build.ts'
import { tail } from '../../../../server/archives/views/tail.ts'
import { createWake } from '../../../../server/lib/wake.ts'
import type { ArchiveRecord, Fact, Journal, TerminalFact } from '../../../../server/ports/journal.ts'
import { abortedFact, archiveSealedFact, failedFact, requestOf } from '../../../support/archives.ts'

const ENTRIES = ['http://a.test/0', 'http://a.test/1', 'http://a.test/2']

/** Makes a journal in memory, and a build that appends to it. */
function openArchive(generation = 1) {
  const facts: (Fact & { seq: number })[] = []
  const news = createWake()
  const request = requestOf({ totalEntries: ENTRIES.length })
  let asked = 0
  let sealedEntries = 0
  const record = (): ArchiveRecord => ({
    ...request,
    lastSeq: 1 + facts.length,
    generation,
    terminal: (facts.find(({ type }) => type === 'archive-sealed' || type === 'aborted') ?? null) as never,
    swept: false,
    client: '',
    journalBytes: 0,
  })
  const journal = {
    async get() {
      asked++
      return record()
    },
    failures: async (_id: string, after: number, limit: number) =>
      facts.filter(({ type, seq }) => type === 'entry-failed' && seq > after).slice(0, limit),
    manifest: async () => ENTRIES,
  } as unknown as Journal
  const build = {
    outcome: null as Build['outcome'],
    generation,
    get lastSeq() {
      return record().lastSeq
    },
    report: {
      news,
      snapshot: (seq: number) => ({
        version: news.version,
        seq,
        progress: { sealedEntries },
        text: `${sealedEntries}`,
      }),
    },
  }
  return {
    build,
    asked: () => asked,
    append(...added: Fact[]) {
      for (const fact of added) facts.push({ ...fact, seq: 2 + facts.length })
      news.notify()
    },
    progress(sealed: number) {
      sealedEntries = sealed
      news.notify()
    },
    end(fact: TerminalFact) {
      facts.push({ ...fact, seq: 2 + facts.length })
      build.outcome = 'sealed'
      news.notify()
    },
    watch(after: number | null = null, signal = new AbortController().signal, isBuilt = true) {
      const buildOf = () => (isBuilt ? (build as unknown as Build) : null)
      return tail({ journal, buildOf, archiveId: request.archiveId, after, signal })
    },
  }
}

async function typesOf(events: ReturnType<typeof tail>): Promise<string[]> {
  const types: string[] = []
  for await (const { event } of events) types.push(event.type === 'file-failed' ? `failed ${event.index}` : event.type)
  return types
}

const next = async (events: ReturnType<typeof tail>) => (await events.next()).value!

describe('the events of an archive that is over', () => {
  it('are its acceptance, its failures in their order, and its end', async () => {
    const archive = openArchive()
    archive.append(failedFact(2), failedFact(0))
    archive.end(archiveSealedFact(9_000))
    expect(await typesOf(archive.watch())).toEqual(['accepted', 'failed 2', 'failed 0', 'complete'])
  })

  it.each([
    [1, ['failed 2', 'failed 0', 'aborted']],
    [2, ['failed 0', 'aborted']],
    [4, ['aborted']],
  ])('go on after the cursor %i', async (after, types) => {
    const archive = openArchive()
    archive.append(failedFact(2), failedFact(0))
    archive.end(abortedFact(9_000))
    expect(await typesOf(archive.watch(after))).toEqual(types)
  })

  it.each([
    ['was never there', 1, 99],
    ['is of an earlier generation', 2, 2],
  ])('are all of them for a cursor that %s', async (_, generation, after) => {
    const archive = openArchive(generation)
    archive.append(failedFact(1))
    archive.end(archiveSealedFact(9_000))
    expect(await typesOf(archive.watch(after))).toEqual(['accepted', 'failed 1', 'complete'])
  })
})

describe('the events of an archive that is built', () => {
  it('come as they happen, including those that happen while the reader is busy', async () => {
    const archive = openArchive()
    const events = archive.watch()
    expect((await next(events)).event.type).toBe('accepted')
    archive.append(failedFact(1))
    expect((await next(events)).event).toMatchObject({ type: 'file-failed', index: 1 })
    archive.append(failedFact(0))
    archive.end(archiveSealedFact(9_000))
    const types = await typesOf(events)
    expect(types.filter((type) => type !== 'progress')).toEqual(['failed 0', 'complete'])
  })

  it('contain progress only if it has changed, and do not read the journal unless there is a new fact', async () => {
    const archive = openArchive()
    const events = archive.watch()
    expect((await next(events)).event.type).toBe('accepted')
    expect((await next(events)).event).toMatchObject({ type: 'progress', sealedEntries: 0 })
    const asked = archive.asked()
    const waiting = next(events)
    archive.progress(0)
    archive.progress(1)
    expect((await waiting).event).toMatchObject({ type: 'progress', sealedEntries: 1 })
    expect(archive.asked()).toBe(asked)
    archive.append(failedFact(2))
    expect((await next(events)).event.type).toBe('file-failed')
    expect(archive.asked()).toBe(asked + 1)
  })

  it('end as SHUTTING_DOWN if the build stops before its end', async () => {
    const archive = openArchive()
    const events = archive.watch()
    await next(events)
    await next(events)
    const waiting = next(events)
    archive.build.outcome = 'stopped'
    archive.progress(1)
    await expect(waiting).rejects.toThrow(Refusal)
  })

  it('end without an error when the reader leaves', async () => {
    const archive = openArchive()
    const leave = new AbortController()
    const events = archive.watch(null, leave.signal)
    await next(events)
    await next(events)
    const waiting = events.next()
    leave.abort()
    expect((await waiting).done).toBe(true)
  })
})
