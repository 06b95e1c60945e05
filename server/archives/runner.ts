// Which archives build now: at most so many at a time, the others queue in the order they came.
import type { ArchiveId } from '#contracts/archive.ts'
import { describe } from '../lib/log.ts'
import type { ArchiveRecord } from '../ports/journal.ts'
import { Build, type BuildParts } from './build.ts'

export interface RunnerOptions {
  parts: BuildParts
  /** Archives built at the same time. */
  maxActive: number
}

export interface Runner extends AsyncDisposable {
  /** The build of this archive, queued or under way. */
  get(archiveId: ArchiveId): Build | null
  /** Builds the archive, unless that is under way. */
  add(record: ArchiveRecord): Build
  readonly size: number
}

export function createRunner({ parts, maxActive }: RunnerOptions): Runner {
  const builds = new Map<ArchiveId, Build>()
  const queue: Build[] = []
  let active = 0
  let closing = false

  function startNext(): void {
    while (active < maxActive && queue.length > 0 && !closing) void run(queue.shift()!)
    for (const [position, build] of queue.entries()) {
      if (build.queuePosition === position) continue
      build.queuePosition = position
      build.news.notify()
    }
  }

  async function run(build: Build): Promise<void> {
    active++
    build.queuePosition = null
    try {
      await build.run(await parts.journal.manifest(build.archiveId))
    } catch (error) {
      parts.log.error('build not started', { archive: build.archiveId, error: describe(error) })
      await build.stop()
    } finally {
      active--
      startNext()
    }
  }

  return {
    get: (archiveId) => builds.get(archiveId) ?? null,
    get size() {
      return builds.size
    },
    add(record) {
      const known = builds.get(record.archiveId)
      if (known !== undefined) return known
      const build = new Build(record, parts)
      builds.set(record.archiveId, build)
      queue.push(build)
      build.queuePosition = queue.length - 1
      void build.ended.then(() => {
        builds.delete(record.archiveId)
        const waiting = queue.indexOf(build)
        if (waiting >= 0) queue.splice(waiting, 1)
        startNext()
      })
      startNext()
      return build
    },
    async [Symbol.asyncDispose]() {
      closing = true
      await Promise.all([...builds.values()].map((build) => build.stop()))
    },
  }
}
