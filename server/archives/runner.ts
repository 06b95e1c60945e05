// Decides which archives are built now: a limited number, with a share for each client. The others wait in fair turns.
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
  /** How many archives of one client are built at the same time if no other client builds. See `seatsInAll`. */
  maxActive: number
  /** How many archives of all clients are built at the same time. @default `seatsInAll(maxActive)` */
  maxInAll?: number
  /** Called when a build is over: the archive has ended, or the build was stopped and can be continued. */
  ended?(build: Build): void
}

/** `leavesRoom` lets a client that is alone take two thirds of all seats, which is `maxActive` of these. */
export const seatsInAll = (maxActive: number): number => Math.ceil((3 * maxActive) / 2)

export interface Runner extends AsyncDisposable {
  /** The build of this archive if it is queued or under way, otherwise null. */
  get(archiveId: ArchiveId): Build | null
  /** Queues a build, or returns the one that is queued or under way. The build takes a turn of `client`. */
  add(record: ArchiveRecord, client?: string): Build
}

interface Seat {
  readonly build: Build
  readonly client: string
  /** How often the build could not be started. */
  failures: number
}

const FIRST_RETRY_MS = 1_000
const LAST_RETRY_MS = 60_000

export function createRunner({ deps, maxActive, maxInAll = seatsInAll(maxActive), ended }: RunnerOptions): Runner {
  const seats = new Map<ArchiveId, Seat>()
  const running = new Set<Seat>()
  const runningOf = new Map<string, number>()
  /** Waiting builds, in the order of their turns. */
  let queue: Seat[] = []
  /** Builds that could not be started and wait to be tried again. */
  const retries = new Map<Seat, NodeJS.Timeout>()
  let closing = false
  const over = new AbortController()

  function startNext(): void {
    // The client with the fewest running builds comes first. If there is no seat for it, there is none for the others.
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

  /** The archive was accepted, so it must be tried again here: perhaps no client comes to ask for it. */
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

  /** Continues a build that journal or spool had stopped. Perhaps no client comes to ask for it. */
  async function goOnLater(archiveId: ArchiveId, client: string): Promise<void> {
    for (let delayMs = FIRST_RETRY_MS; !closing; delayMs = Math.min(LAST_RETRY_MS, 2 * delayMs)) {
      try {
        await sleep(delayMs, undefined, { signal: over.signal, ref: false })
        const record = await deps.journal.get(archiveId)
        if (record?.terminal === null && !record.swept) add(record, client)
        return
      } catch (error) {
        if (!closing) deps.log.warn('build not continued', { archive: archiveId, error: describe(error) })
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
