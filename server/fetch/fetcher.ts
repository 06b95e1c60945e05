// Fetches entries within the budget, and holds their deadlines.
import type { HeldBack, LaneOptions } from './budget.ts'
import { createDecoderSemaphore } from './decoder-semaphore.ts'
import { type EntryFetch, type EntryRequest, EntryRun, type FetcherLimits } from './entry-run.ts'
import { createOrigins } from './origins/origins.ts'
import { createProbe, type Probe, type ProbeOptions } from './probe.ts'

export type { EntryFetch, EntryRequest, FetcherLimits, FetchOutcome } from './entry-run.ts'

export interface FetcherOptions extends ProbeOptions {
  readonly limits: FetcherLimits
}

export interface FetchLane {
  fetch(request: EntryRequest): EntryFetch
  kick(): void
  /** Entries that wait because their origin has asked for a pause. */
  readonly heldBack: HeldBack[]
  readonly heldBackCount: number
  /** Ends everything that is under way. No callback comes after that. */
  close(): void
}

export interface Fetcher extends Disposable {
  /** Opens the lane of one archive. */
  openLane(options: LaneOptions): FetchLane
  /** Asks origins about files without fetching them. */
  readonly probe: Probe
}

/** Deadlines are checked this often, so they may be late by as much. */
const CHECK_EVERY_MS = 100

export function createFetcher(options: FetcherOptions): Fetcher {
  const { dispatcher, budget, limits, clock, userAgent } = options
  const { ruleFor } = options.origins ?? createOrigins()
  const underWay = new Set<EntryRun>()
  const decoderSemaphore = createDecoderSemaphore()
  let ticker: NodeJS.Timeout | null = null

  /** One timer serves all runs, because a timer for each small entry would cost more than parsing its response. */
  function tick(): void {
    const nowMs = clock.monotonicMs()
    for (const run of underWay) run.check(nowMs)
    if (underWay.size === 0 && ticker !== null) {
      clearInterval(ticker)
      ticker = null
    }
  }

  return {
    probe: createProbe(options),
    openLane(laneOptions) {
      const runs = new Set<EntryRun>()
      const lane = budget.openLane(laneOptions)
      const host = {
        ...{ lane, dispatcher, limits, clock, userAgent, ruleFor, decoderSemaphore },
        begun(run: EntryRun) {
          runs.add(run)
          underWay.add(run)
          ticker ??= setInterval(tick, CHECK_EVERY_MS)
        },
        over(run: EntryRun) {
          runs.delete(run)
          underWay.delete(run)
        },
      }
      return {
        get heldBack() {
          return lane.heldBack
        },
        get heldBackCount() {
          return lane.heldBackCount
        },
        fetch: (request) => new EntryRun(request, host),
        kick: () => lane.kick(),
        close() {
          lane.close()
          for (const run of [...runs]) run.cancel()
        },
      }
    },
    [Symbol.dispose]() {
      if (ticker !== null) clearInterval(ticker)
    },
  }
}
