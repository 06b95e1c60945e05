// Fetches entries: makes attempts within the budget until a body is whole or no further attempt makes sense.
import type { EntryFailureCode } from '#contracts/failures.ts'
import { Attempt, type AttemptLimits, type AttemptOutcome } from './attempt.ts'
import type { BodySink } from './body-sink.ts'
import type { FetchBudget, PendingFetch, Release } from './budget.ts'
import { createDecoderSemaphore } from './decoder-semaphore.ts'
import { releaseAfterDial } from './dispatcher.ts'
import { createProbe, type Probe, type ProbeOptions } from './probe.ts'
import type { Received } from './range-resume.ts'
import type { ResponseFacts } from './response.ts'
import { nextDelayMs } from './retry.ts'

export interface FetcherLimits extends AttemptLimits {
  /** Counts from the entry's first attempt, and includes the waits between attempts. */
  readonly entryTimeoutMs: number
  readonly maxAttempts: number
}

export interface FetcherOptions extends ProbeOptions {
  readonly limits: FetcherLimits
}

export type FetchOutcome = { readonly attempts: number } & (
  | ({ readonly ok: true } & ResponseFacts)
  | { readonly ok: false; readonly code: EntryFailureCode; readonly httpStatus: number | null }
)

export interface EntryRequest {
  /** The entries of a lane start in this order. */
  readonly index: number
  readonly url: URL
  readonly sink: BodySink
  /** What the sink already holds and can continue from. @default nothing */
  readonly received?: Received | null
  /** Called exactly once, unless the lane is closed first. */
  readonly done: (outcome: FetchOutcome) => void
}

export interface EntryFetch {
  readonly attempt: number
  readonly receivedBytes: number
  readonly sizeBytes: number | null
}

export interface FetchLane {
  fetch(request: EntryRequest): EntryFetch
  kick(): void
  /** Ends everything that is under way. No callback comes after that. */
  close(): void
}

export interface Fetcher extends Disposable {
  /** Opens the lane of one archive, for the client with this address. */
  openLane(mayStart: () => boolean, client?: string): FetchLane
  /** Asks origins about files without fetching them. */
  readonly probe: Probe
}

/** Deadlines are checked this often, so they may be late by as much. */
const CHECK_EVERY_MS = 100

export function createFetcher(options: FetcherOptions): Fetcher {
  const { dispatcher, budget, limits, clock, userAgent } = options
  const underWay = new Set<Run>()
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

  class Run implements EntryFetch, PendingFetch {
    readonly order: number
    readonly origin: string
    readonly #request: EntryRequest
    readonly #lane: ReturnType<FetchBudget['openLane']>
    readonly #runs: Set<Run>
    attempt = 0
    #current: Attempt | null = null
    #received: Received | null = null
    #deadlineMs = Infinity
    #retryAtMs = Infinity

    constructor(request: EntryRequest, lane: ReturnType<FetchBudget['openLane']>, runs: Set<Run>) {
      this.order = request.index
      this.origin = request.url.origin
      this.#request = request
      this.#lane = lane
      this.#runs = runs
      this.#received = request.received ?? null
      this.#enqueue()
    }

    get receivedBytes(): number {
      return this.#current?.receivedBytes ?? this.#received?.bytes ?? 0
    }

    get sizeBytes(): number | null {
      return this.#current?.sizeBytes ?? this.#received?.sizeBytes ?? null
    }

    #enqueue(): void {
      this.#retryAtMs = Infinity
      this.#lane.add(this)
    }

    /** The budget calls this when it is this entry's turn. */
    start(release: Release): void {
      // The entry's deadline may have passed while a retry waited for its turn.
      if (this.attempt > 0 && !this.#runs.has(this)) return release(null)
      const nowMs = clock.monotonicMs()
      const { url, sink } = this.#request
      if (this.attempt++ === 0) {
        this.#deadlineMs = nowMs + limits.entryTimeoutMs
        this.#runs.add(this)
        underWay.add(this)
        ticker ??= setInterval(tick, CHECK_EVERY_MS)
      }
      const before = this.#received?.bytes ?? 0
      let attempt: Attempt | null = null
      attempt = this.#current = new Attempt(dispatcher, {
        url,
        userAgent,
        sink,
        received: this.#received,
        limits,
        clock,
        decoderSemaphore,
        lane: this.#lane,
        done: (outcome) => {
          releaseAfterDial(dispatcher, attempt, release, Math.max(0, this.receivedBytes - before))
          this.#ended(outcome)
        },
      })
    }

    #ended(outcome: AttemptOutcome): void {
      this.#current = null
      if (!this.#runs.has(this)) return
      const attempts = this.attempt
      if (outcome.ok) return this.#finish({ ...outcome, attempts })
      this.#received = outcome.received
      const delayMs = nextDelayMs(outcome, attempts, { maxAttempts: limits.maxAttempts, nowMs: clock.wallMs() })
      const retryAtMs = delayMs === 'stop' ? Infinity : clock.monotonicMs() + delayMs
      if (retryAtMs < this.#deadlineMs) this.#retryAtMs = retryAtMs
      else this.#finish({ ok: false, code: outcome.code, httpStatus: outcome.httpStatus, attempts })
    }

    check(nowMs: number): void {
      if (nowMs >= this.#deadlineMs) {
        this.#received = null
        const current = this.#current
        if (current !== null) current.end('ENTRY_TIMEOUT')
        else this.#finish({ ok: false, code: 'ENTRY_TIMEOUT', httpStatus: null, attempts: this.attempt })
      } else if (nowMs >= this.#retryAtMs) this.#enqueue()
      else this.#current?.check(nowMs)
    }

    #finish(outcome: FetchOutcome): void {
      this.forget()
      this.#request.done(outcome)
    }

    forget(): void {
      this.#runs.delete(this)
      underWay.delete(this)
    }

    cancel(): void {
      this.forget()
      this.#current?.end('ENTRY_TIMEOUT')
    }
  }

  return {
    probe: createProbe(options),
    openLane(mayStart, client) {
      const runs = new Set<Run>()
      const lane = budget.openLane(mayStart, client)
      return {
        fetch: (request) => new Run(request, lane, runs),
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
