// Fetches one entry: attempt after attempt, until its body is whole or no further attempt makes sense.
import type { EntryFailureCode } from '#contracts/failures.ts'
import type { Clock } from '../lib/clock.ts'
import { Attempt, type AttemptFailed, type AttemptLimits, type AttemptOutcome } from './attempt.ts'
import type { BodySink } from './body-sink.ts'
import type { Lane, PendingFetch, Release } from './budget.ts'
import type { DecoderSemaphore } from './decoder-semaphore.ts'
import { type FetchDispatcher, releaseAfterDial } from './dispatcher.ts'
import type { Origins } from './origins/origins.ts'
import type { OriginPace } from './origins/pace.ts'
import type { Received } from './range-resume.ts'
import type { ResponseFacts } from './response.ts'
import { askedWaitMs, isRefusal, isRefusingStatus, nextDelayMs } from './retry.ts'

export interface FetcherLimits extends AttemptLimits {
  /** Counts from the entry's first attempt, and includes the waits between attempts. */
  readonly entryTimeoutMs: number
  /** Of these, an attempt that brought bytes which are kept begins the count anew; refusals of a busy origin do not count. */
  readonly maxAttempts: number
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
  /** The first is 1; 0 before it begins. Refused ones are among them. */
  readonly attempt: number
  readonly receivedBytes: number
  readonly sizeBytes: number | null
}

/** What the runs of one lane have in common. */
export interface RunHost {
  readonly lane: Lane
  readonly dispatcher: FetchDispatcher
  readonly limits: FetcherLimits
  readonly clock: Clock
  readonly userAgent: string
  readonly ruleFor: Origins['ruleFor']
  readonly decoderSemaphore: DecoderSemaphore
  /** Its time runs: `check` is to be called some times a second, until it is over. */
  begun(run: EntryRun): void
  over(run: EntryRun): void
}

/** What an entry fails with while its origin has told everybody to come back much later. */
const CLOSED = { code: 'HTTP_STATUS', httpStatus: 429 } as const

/** An origin that answers so many more than it refuses is not asked too much. */
const ANSWERS_BY_REFUSAL = 4

interface AttemptEnd {
  readonly isCounted: boolean
  readonly pace: OriginPace
  /** Bytes that were there when it began. */
  readonly before: number
}

/** The fetch of one entry. It enters the lane when it is made, and again for each further attempt. */
export class EntryRun implements EntryFetch, PendingFetch {
  readonly order: number
  readonly origin: string
  readonly #request: EntryRequest
  readonly #host: RunHost
  #isOver = false
  attempt = 0
  /** Attempts that have failed, as far as they count. */
  #failures = 0
  /** What its origin had answered and refused when it last refused this entry. */
  #refusedAt: { readonly answers: number; readonly refusals: number } | null = null
  #current: Attempt | null = null
  #received: Received | null = null
  #begunMs = 0
  #deadlineMs = Infinity
  #retryAtMs = Infinity

  constructor(request: EntryRequest, host: RunHost) {
    this.order = request.index
    this.origin = request.url.origin
    this.#request = request
    this.#host = host
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
    this.#host.lane.add(this)
  }

  /** The budget calls this when it is this entry's turn. */
  start(release: Release, pace: OriginPace): void {
    // The entry's deadline may have passed while a retry waited for its turn.
    if (this.#isOver) return release(null)
    const host = this.#host
    const { dispatcher, clock, limits } = host
    const startedMs = clock.monotonicMs()
    this.#begin(startedMs)
    if (pace.isClosed(startedMs)) {
      release(null)
      return this.#finish({ ok: false, ...CLOSED, attempts: this.attempt })
    }
    this.attempt++
    const before = this.#received?.bytes ?? 0
    let isAnswered = false
    let attempt: Attempt | null = null
    attempt = this.#current = new Attempt(dispatcher, {
      url: this.#request.url,
      userAgent: host.userAgent,
      sink: this.#request.sink,
      received: this.#received,
      limits,
      clock,
      decoderSemaphore: host.decoderSemaphore,
      lane: host.lane,
      ruleFor: host.ruleFor,
      sent: (nowMs) => pace.sent(nowMs),
      answered(status, answerMs) {
        isAnswered = true
        pace.answered()
        if (!isRefusingStatus(status)) pace.served({ startedMs, nowMs: clock.monotonicMs(), answerMs })
      },
      isQueued: (nowMs) => pace.isQueueing(nowMs, limits.headersTimeoutMs),
      done: (outcome) => {
        const receivedBytes = Math.max(0, this.receivedBytes - before)
        this.#current = null
        if (!isAnswered) pace.answered()
        const isCounted = outcome.ok || this.#isCounted(outcome, pace, startedMs)
        releaseAfterDial(dispatcher, attempt, release, receivedBytes)
        if (!this.#isOver) this.#ended(outcome, { isCounted, pace, before })
      },
    })
  }

  /** The time for the entry begins with its first turn. */
  #begin(nowMs: number): void {
    if (this.#deadlineMs < Infinity) return
    this.#begunMs = nowMs
    this.#deadlineMs = nowMs + this.#host.limits.entryTimeoutMs
    this.#host.begun(this)
  }

  /**
   * A refusal by an origin that is asked for much, and answers others, is no failure of this entry. But if the origin has
   * answered many since then, has refused few, and refuses this one again, it is because of the file.
   */
  #isCounted(failed: AttemptFailed, pace: OriginPace, startedMs: number): boolean {
    const { clock, limits } = this.#host
    const nowMs = clock.monotonicMs()
    const serves = pace.serves(nowMs)
    if (!isRefusal(failed, { serves, isQueueing: pace.isQueueing(nowMs, limits.headersTimeoutMs) })) return true
    const { answers, refusals } = pace
    const before = this.#refusedAt
    const isOnlyThis =
      before !== null && answers - before.answers >= ANSWERS_BY_REFUSAL * (refusals - before.refusals + 1)
    const isCounted = isOnlyThis || !serves || !pace.isShared(this, nowMs)
    if (!isOnlyThis) pace.refused({ startedMs, nowMs, waitMs: askedWaitMs(failed, clock.wallMs()), by: this })
    this.#refusedAt = { answers, refusals: pace.refusals }
    return isCounted
  }

  #ended(outcome: AttemptOutcome, { isCounted, pace, before }: AttemptEnd): void {
    if (outcome.ok) return this.#finish({ ...outcome, attempts: this.attempt })
    this.#received = outcome.received
    const { clock, limits } = this.#host
    const nowMs = clock.monotonicMs()
    if (!isCounted) {
      const untilMs = Math.max(pace.gateMs, nowMs + (askedWaitMs(outcome, clock.wallMs()) ?? 0))
      // The budget itself waits for the gate, and then takes what comes first in the list.
      return untilMs < this.#deadlineMs ? this.#enqueue() : this.#giveUp(outcome)
    }
    if (outcome.received !== null && outcome.received.bytes > before) this.#failures = 0
    const { maxAttempts } = limits
    const delayMs = nextDelayMs(outcome, ++this.#failures, { maxAttempts, nowMs: clock.wallMs() })
    if (delayMs === 'stop' && isRefusingStatus(outcome.httpStatus ?? 0)) pace.gaveUp(this.#begunMs)
    const retryAtMs = delayMs === 'stop' ? Infinity : nowMs + delayMs
    if (retryAtMs < this.#deadlineMs) this.#retryAtMs = retryAtMs
    else this.#giveUp(outcome)
  }

  #giveUp({ code, httpStatus }: AttemptFailed): void {
    this.#finish({ ok: false, code, httpStatus, attempts: this.attempt })
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
    this.#forget()
    this.#request.done(outcome)
  }

  #forget(): void {
    this.#isOver = true
    this.#host.over(this)
  }

  cancel(): void {
    this.#forget()
    this.#current?.end('ENTRY_TIMEOUT')
  }
}
