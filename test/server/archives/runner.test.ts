// Which archives are built: seats by client, fair turns, places in the queue, and another try if one could not begin.
import { describe, expect, it, onTestFinished } from 'vitest'
import { createRunner } from '../../../server/archives/runner.ts'
import { systemClock } from '../../../server/lib/clock.ts'
import { createLog } from '../../../server/lib/log.ts'
import type { ArchiveRecord } from '../../../server/ports/journal.ts'
import { requestOf } from '../../support/archives.ts'
import { until } from '../../support/wait.ts'

/** A started build waits for its manifest until the test lets the journal answer. */
function openRunner({ maxActive = 2, failing = 0 } = {}) {
  const started: string[] = []
  const ended: string[] = []
  const manifests = new Map<string, () => void>()
  let left = failing
  const record = (archiveId: string): ArchiveRecord => ({
    ...requestOf({ archiveId, totalEntries: 1 }),
    lastSeq: 1,
    generation: 1,
    terminal: null,
    swept: false,
    client: '',
    journalBytes: 0,
  })
  const deps = {
    journal: {
      manifest(archiveId: string) {
        if (left-- > 0) return Promise.reject(new Error('not now'))
        started.push(archiveId)
        return new Promise((resolve) => manifests.set(archiveId, () => resolve([])))
      },
      append: async () => {},
      get: async (archiveId: string) => record(archiveId),
    },
    spool: { remove: async () => {} },
    clock: systemClock,
    log: createLog('silent'),
    limits: { abortedRetentionMs: 1_000 },
  } as unknown as Parameters<typeof createRunner>[0]['deps']
  const runner = createRunner({ deps, maxActive, ended: ({ archiveId }) => ended.push(archiveId) })
  onTestFinished(() => runner[Symbol.asyncDispose]())
  return {
    runner,
    started,
    ended,
    answer: (id: string) => manifests.get(id)!(),
    add: (id: string, client: string) => runner.add(record(id), client),
  }
}

describe('a runner', () => {
  it('builds the set number of archives of one client, and one more of another client', () => {
    const { started, add } = openRunner()
    for (const id of ['a1', 'a2', 'a3', 'a4']) add(id, 'a')
    expect(started).toEqual(['a1', 'a2'])
    add('b1', 'b')
    expect(started).toEqual(['a1', 'a2', 'b1'])
  })

  it('gives each waiting archive its place in the queue, and an archive that is being built none', () => {
    const { add } = openRunner()
    const builds = ['a1', 'a2', 'a3', 'a4'].map((id) => add(id, 'a'))
    expect(builds.map(({ report }) => report.queuePosition)).toEqual([null, null, 0, 1])
  })

  it('begins the next one when one has ended, and forgets that one', async () => {
    const { runner, started, ended, answer, add } = openRunner({ maxActive: 1 })
    const [first] = ['a1', 'a2', 'a3'].map((id) => add(id, 'a'))
    expect(await first!.abort('CANCELLED')).toBe(true)
    await until(() => ended.length === 1, { what: 'the first to end' })
    expect(runner.get('a1')).toBeNull()
    // Its seat stays taken until all its work has ended.
    expect(started).toEqual(['a1'])
    answer('a1')
    await until(() => started.length === 2, { what: 'the next one to begin' })
    expect(started).toEqual(['a1', 'a2'])
  })

  it('gives up a waiting archive at once', async () => {
    const { runner, started, add } = openRunner({ maxActive: 1 })
    const [, second, third] = ['a1', 'a2', 'a3'].map((id) => add(id, 'a'))
    await second!.abort('CANCELLED')
    expect(runner.get('a2')).toBeNull()
    expect(third!.report.queuePosition).toBe(0)
    expect(started).not.toContain('a2')
  })

  it('recognises an archive that is added again', () => {
    const { started, add } = openRunner()
    expect(add('a1', 'a')).toBe(add('a1', 'a'))
    expect(started).toEqual(['a1'])
  })

  it('tries again if an archive could not begin', async () => {
    const { started, add } = openRunner({ failing: 1 })
    add('a1', 'a')
    expect(started).toEqual([])
    await until(() => started.length === 1, { what: 'the second try' })
  })
})
