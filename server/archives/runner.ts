// Which archives build now: at most so many at a time; the others queue, in fair turns between clients.
import type { ArchiveId } from '#contracts/archive.ts'
import { describe } from '../lib/log.ts'
import type { ArchiveRecord } from '../ports/journal.ts'
import { Build } from './build.ts'
import type { BuildParts } from './build-parts.ts'
import { fairOrder } from './turns.ts'

export interface RunnerOptions {
  parts: BuildParts
  /** Archives built at the same time. */
  maxActive: number
  /** A build is over: the archive has ended, or was stopped where it stood. */
  ended?(build: Build): void
}

export interface Runner extends AsyncDisposable {
  /** The build of this archive, queued or under way. */
  get(archiveId: ArchiveId): Build | null
  /** Builds the archive, unless that is under way. `client` is whose turn it takes. */
  add(record: ArchiveRecord, client?: string): Build
}

interface Seat {
  readonly build: Build
  readonly client: string
}

export function createRunner({ parts, maxActive, ended }: RunnerOptions): Runner {
  const seats = new Map<ArchiveId, Seat>()
  const running = new Set<Seat>()
  /** In the order of their turns. */
  let queue: Seat[] = []
  let closing = false

  function startNext(): void {
    while (running.size < maxActive && queue.length > 0 && !closing) void run(queue.shift()!)
    queue = fairOrder(queue, [...running])
    for (const [position, { build }] of queue.entries()) {
      if (build.queuePosition === position) continue
      build.queuePosition = position
      build.news.notify()
    }
  }

  async function run(seat: Seat): Promise<void> {
    const { build } = seat
    running.add(seat)
    build.queuePosition = null
    try {
      await build.run(await parts.journal.manifest(build.archiveId))
    } catch (error) {
      parts.log.error('build not started', { archive: build.archiveId, error: describe(error) })
      await build.stop()
    } finally {
      running.delete(seat)
      startNext()
    }
  }

  return {
    get: (archiveId) => seats.get(archiveId)?.build ?? null,
    add(record, client = '') {
      const known = seats.get(record.archiveId)
      if (known !== undefined) return known.build
      const build = new Build(record, parts)
      const seat = { build, client }
      seats.set(record.archiveId, seat)
      queue = fairOrder([...queue, seat], [...running])
      void build.ended.then(() => {
        seats.delete(record.archiveId)
        queue = queue.filter((waiting) => waiting !== seat)
        ended?.(build)
        startNext()
      })
      startNext()
      return build
    },
    async [Symbol.asyncDispose]() {
      closing = true
      await Promise.all([...seats.values()].map(({ build }) => build.stop()))
    },
  }
}
