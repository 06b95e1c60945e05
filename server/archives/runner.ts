// Which archives build now: at most so many at a time, of each client its share; the others queue, in fair turns.
import { setTimeout as sleep } from 'node:timers/promises'
import type { ArchiveId } from '#contracts/archive.ts'
import { describe } from '../lib/log.ts'
import { leavesRoom } from '../lib/quota.ts'
import type { ArchiveRecord } from '../ports/journal.ts'
import { Build } from './build/build.ts'
import type { BuildDeps } from './build/build-deps.ts'
import { fairOrder } from './turns.ts'

export interface RunnerOptions {
  deps: Omit<BuildDeps, 'client'>
  /** Archives built at the same time, of a client that is alone; `seatsInAll` says what there is for others besides. */
  maxActive: number
  /** Never more, whoever asks. @default `seatsInAll(maxActive)` */
  maxInAll?: number
  /** A build is over: the archive has ended, or was stopped where it stood. */
  ended?(build: Build): void
}

/** By `leavesRoom` a client takes at most two thirds of the seats that others leave: the first has what is set. */
export const seatsInAll = (maxActive: number): number => Math.ceil((3 * maxActive) / 2)

export interface Runner extends AsyncDisposable {
  /** The build of this archive, queued or under way. */
  get(archiveId: ArchiveId): Build | null
  /** Builds the archive, unless that is under way. `client` is whose turn it takes. */
  add(record: ArchiveRecord, client?: string): Build
}

interface Seat {
  readonly build: Build
  readonly client: string
  /** Tries to start it. */
  failures: number
}

const FIRST_RETRY_MS = 1_000
const LAST_RETRY_MS = 60_000

export function createRunner({ deps, maxActive, maxInAll = seatsInAll(maxActive), ended }: RunnerOptions): Runner {
  const seats = new Map<ArchiveId, Seat>()
  const running = new Set<Seat>()
  const runningOf = new Map<string, number>()
  /** In the order of their turns. */
  let queue: Seat[] = []
  /** Of builds that could not be started. */
  const retries = new Map<Seat, NodeJS.Timeout>()
  let closing = false
  const over = new AbortController()

  function startNext(): void {
    // Whoever has fewer running comes first: where there is no seat for that one, there is none for the others.
    while (queue.length > 0 && !closing && hasSeat(queue[0]!.client)) void run(queue.shift()!)
    queue = fairOrder(queue, [...running])
    for (const [position, { build }] of queue.entries()) {
      if (build.report.queuePosition === position) continue
      build.report.queuePosition = position
      build.report.news.notify()
    }
  }

  function hasSeat(client: string): boolean {
    return leavesRoom(runningOf.get(client) ?? 0, running.size, maxInAll)
  }

  function count(seat: Seat, more: 1 | -1): void {
    if (more > 0) running.add(seat)
    else running.delete(seat)
    const left = (runningOf.get(seat.client) ?? 0) + more
    if (left === 0) runningOf.delete(seat.client)
    else runningOf.set(seat.client, left)
  }

  async function run(seat: Seat): Promise<void> {
    const { build } = seat
    count(seat, 1)
    build.report.queuePosition = null
    try {
      await build.run(await deps.journal.manifest(build.archiveId))
    } catch (error) {
      deps.log.error('build not started', { archive: build.archiveId, error: describe(error) })
      tryLater(seat)
    } finally {
      count(seat, -1)
      startNext()
    }
  }

  /** It was accepted, so it is not given up: nobody may be there to ask for it again. */
  function tryLater(seat: Seat): void {
    if (closing || !seats.has(seat.build.archiveId)) return
    const delayMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** seat.failures++)
    const timer = setTimeout(() => {
      retries.delete(seat)
      enqueue(seat)
    }, delayMs)
    timer.unref()
    retries.set(seat, timer)
  }

  /** It stopped because journal or spool could not go on: nobody may be there to ask for it again. */
  async function goOnLater(archiveId: ArchiveId, client: string): Promise<void> {
    for (let delayMs = FIRST_RETRY_MS; !closing; delayMs = Math.min(LAST_RETRY_MS, 2 * delayMs)) {
      try {
        await sleep(delayMs, undefined, { signal: over.signal, ref: false })
        const record = await deps.journal.get(archiveId)
        if (record?.terminal === null && !record.swept) add(record, client)
        return
      } catch (error) {
        if (!closing) deps.log.warn('archive not gone on with', { archive: archiveId, error: describe(error) })
      }
    }
  }

  function enqueue(seat: Seat): void {
    queue = fairOrder([...queue, seat], [...running])
    startNext()
  }

  function forget(seat: Seat): void {
    seats.delete(seat.build.archiveId)
    clearTimeout(retries.get(seat))
    retries.delete(seat)
    queue = queue.filter((waiting) => waiting !== seat)
    startNext()
  }

  function add(record: ArchiveRecord, client = ''): Build {
    const known = seats.get(record.archiveId)
    if (known !== undefined) return known.build
    const build = new Build(record, { ...deps, client })
    const seat: Seat = { build, client, failures: 0 }
    seats.set(record.archiveId, seat)
    void build.ended.then(() => {
      forget(seat)
      ended?.(build)
      if (build.outcome === 'stopped') void goOnLater(build.archiveId, client)
    })
    enqueue(seat)
    return build
  }

  return {
    get: (archiveId) => seats.get(archiveId)?.build ?? null,
    add,
    async [Symbol.asyncDispose]() {
      closing = true
      over.abort()
      await Promise.all([...seats.values()].map(({ build }) => build.stop()))
    },
  }
}
