// How much one origin is asked: learns from its refusals and its slow answers. Counts and judges; sends nothing.

export interface OriginPaceOptions {
  /** Never more requests at a time. @default no limit */
  readonly maxFetches?: number | undefined
  /** Never more requests a second. @default no limit */
  readonly requestsPerSecond?: number | undefined
  /** Longest time a request can be held back at all, in milliseconds. @default no limit */
  readonly maxWaitMs?: number | undefined
  /** @default Math.random */
  readonly random?: () => number
}

export interface OriginAnswer {
  /** When its request began. */
  readonly startedMs: number
  readonly nowMs: number
  /** From the request to the headers of the response. */
  readonly answerMs: number
}

export interface OriginRefusal {
  readonly startedMs: number
  readonly nowMs: number
  /** How long the origin asks to wait from now on; null if it names no time. */
  readonly waitMs: number | null
  /** Who asked: an object that is the same for each attempt at an entry. */
  readonly by: object
}

/**
 * So many requests begin at first, and one more for every fourth answer: an origin that takes few at a time then refuses few. If no
 * answer comes within this time, more begin in groups: waiting for late answers would take too long.
 */
const FIRST_FETCHES = 8
const FIRST_ANSWER_MS = 25
/** So long the first connection is waited for, before more are opened. */
const FIRST_CONNECTION_MS = 1_000
const STEP_FETCHES = 4
const STEP_MS = 5
/** A concurrency that has grown to this is not limited any more: no archive asks for so much. */
const NO_LIMIT = 96
/** A rate that has grown to this, in requests a second, is not limited any more. */
const NO_RATE = 500
const MIN_RATE = 1 / 60
/** What was granted in less time than this says nothing about a rate. */
const MIN_SPELL_MS = 100
/** From the concurrency that was refused on, the limit grows this many times more slowly. */
const CAUTION = 8
/** By these factors the rate grows in a second: far below the rate that was refused, and near it. */
const QUICK_GROWTH = 1.05
const SLOW_GROWTH = 1.005
const NEAR = 0.85
/** Longest time for which the rate grows at once: a rate that was not used is not proven. */
const MAX_GROWTH_S = 2
/** Timers are late by a little: this much of what was missed is made up for. */
const MAX_LATE_MS = 20
/** The pause after a refusal that names no time. It doubles with each refusal in a row. */
const FIRST_PAUSE_MS = 500
const MAX_PAUSE_MS = 30_000
/** An answer that took this long, and this many times as long as the quickest one, has waited for others. */
const SLOW_ANSWER_MS = 1_000
const SLOW_RATIO = 3
/** Slow answers alone do not take the limit below this: some files just take an origin long to make. */
const MIN_FETCHES_WHEN_SLOW = 4
/** An origin that has answered within this time is there. Those that count by the minute name a time. */
const SERVES_MS = 20_000
/** After this many refusals in a row for longer than anybody can wait, nobody else asks for a while. */
const LONG_REFUSALS = 3
const MAX_CLOSED_MS = 10 * 60_000

/**
 * A healthy origin has no limits. A refusal halves the number of requests at a time, and closes a gate for as long as the
 * origin asks; after that, one request goes first. If nothing else is under way, what was granted before the refusal
 * and the time until the next grant give the rate that the origin allows. Both limits grow slowly again: additive increase
 * and multiplicative decrease, as in TCP (RFC 5681 section 3.1).
 */
export class OriginPace {
  readonly #options: OriginPaceOptions
  #active = 0
  /** Of these, how many wait for their answer. */
  #unanswered = 0
  #limit = Number.POSITIVE_INFINITY
  /** The limit grows to this by one with each answer. */
  #target = Number.POSITIVE_INFINITY
  #refusedFetches = Number.POSITIVE_INFINITY
  #gateMs = Number.NEGATIVE_INFINITY
  /** When the limits last fell: requests that began before say nothing about the limits of now. */
  #fellMs = Number.NEGATIVE_INFINITY
  /** In requests a second. */
  #rate = Number.POSITIVE_INFINITY
  #refusedRate = Number.POSITIVE_INFINITY
  #rateGrownMs = 0
  /** The rate lets no request begin before this. */
  #nextMs = Number.NEGATIVE_INFINITY
  /** Requests granted since the gate opened, or since the first one. */
  #granted = 0
  #grantedSinceMs: number | null = null
  /** What was granted before the refusals of now. */
  #spell: { readonly sinceMs: number; readonly granted: number } | null = null
  #refusalsInARow = 0
  #longRefusalsInARow = 0
  #closedUntilMs = Number.NEGATIVE_INFINITY
  /** It refuses everybody: asking less does not help. */
  #isDown = false
  #quickestMs = Number.POSITIVE_INFINITY
  #isSlow = false
  #answeredMs = Number.NEGATIVE_INFINITY
  /** When the first request was sent, after it was begun and connected. */
  #firstSentMs: number | null = null
  /** Counts of all answers and refusals, for whoever compares two moments. */
  answers = 0
  refusals = 0
  #lastRefused: { readonly by: WeakRef<object>; readonly atMs: number } | null = null

  constructor(options: OriginPaceOptions = {}) {
    this.#options = options
  }

  /** The gate is closed until then; a time in the past if it is open. */
  get gateMs(): number {
    return this.#gateMs
  }

  /** A new one would behave the same. */
  isHealthy(nowMs: number): boolean {
    const isLimited = this.#limit < NO_LIMIT || this.#rate < NO_RATE
    return !isLimited && !this.#isDown && this.#active === 0 && nowMs >= Math.max(this.#gateMs, this.#closedUntilMs)
  }

  /** The origin has answered somebody lately. */
  serves(nowMs: number): boolean {
    return nowMs - this.#answeredMs < SERVES_MS
  }

  /** Others are under way, or another one was refused lately: a refusal may well be because of them. */
  isShared(by: object, nowMs: number): boolean {
    if (this.#active > 1) return true
    const last = this.#lastRefused
    return last !== null && last.by.deref() !== by && nowMs - last.atMs < SERVES_MS
  }

  /** The origin answers others within `patienceMs`, and slowly: a request without an answer waits behind them. */
  isQueueing(nowMs: number, patienceMs: number): boolean {
    return this.#isSlow && nowMs - this.#answeredMs < patienceMs
  }

  /** The origin has told several requests in a row to come back later than any can wait. */
  isClosed(nowMs: number): boolean {
    return nowMs < this.#closedUntilMs
  }

  /** Milliseconds until one more request may begin: 0 for now, Infinity for when one of those under way is over. */
  delayMs(nowMs: number): number {
    if (this.isClosed(nowMs)) return 0
    const { maxFetches = Number.POSITIVE_INFINITY } = this.#options
    if (this.#active >= maxFetches) return Number.POSITIVE_INFINITY
    if (this.#isDown) return Math.max(0, this.#nextMs - nowMs)
    if (nowMs < this.#gateMs) return this.#gateMs - nowMs
    if (this.#active >= Math.floor(this.#limit)) return Number.POSITIVE_INFINITY
    return Math.max(0, this.#firstStepsMs(nowMs), this.#nextMs - nowMs)
  }

  #firstStepsMs(nowMs: number): number {
    const unproven = this.#unanswered - this.#granted / 4 - FIRST_FETCHES
    if (unproven < 0 || this.#rate < NO_RATE) return 0
    if (this.#firstSentMs === null) return nowMs - (this.#grantedSinceMs ?? nowMs) < FIRST_CONNECTION_MS ? STEP_MS : 0
    // An answer makes room without any request being over, so this is looked at again soon.
    if (this.answers > 0 && this.#quickestMs < FIRST_ANSWER_MS) return STEP_MS
    return this.#firstSentMs + FIRST_ANSWER_MS + Math.floor(unproven / STEP_FETCHES) * STEP_MS - nowMs
  }

  /** A request begins. */
  started(nowMs: number): void {
    this.#active++
    this.#unanswered++
    this.#grantedSinceMs ??= nowMs
    const rate = Math.min(this.#rate, this.#options.requestsPerSecond ?? Number.POSITIVE_INFINITY)
    if (rate < NO_RATE) this.#nextMs = Math.max(this.#nextMs, nowMs - MAX_LATE_MS) + 1_000 / rate
  }

  /** A request has a connection, and goes out. */
  sent(nowMs: number): void {
    this.#firstSentMs ??= nowMs
  }

  /** A request has its answer, or gets none any more. To be called once for each. */
  answered(): void {
    this.#unanswered--
  }

  /** A request is over, however it ended. */
  ended(): void {
    this.#active--
    // Nobody waits for a connection that cannot be had.
    this.#firstSentMs ??= Number.NEGATIVE_INFINITY
  }

  /** The origin has answered a request, and has not refused it. */
  served({ startedMs, nowMs, answerMs }: OriginAnswer): void {
    this.answers++
    this.#answeredMs = nowMs
    this.#granted++
    this.#refusalsInARow = this.#longRefusalsInARow = 0
    this.#isDown = false
    this.#quickestMs = Math.min(this.#quickestMs, answerMs)
    this.#isSlow = answerMs > SLOW_ANSWER_MS && answerMs > SLOW_RATIO * this.#quickestMs
    if (startedMs < this.#fellMs) return
    this.#learnRate(nowMs)
    if (!this.#isSlow) this.#grow(nowMs)
    else if (this.#active > MIN_FETCHES_WHEN_SLOW) this.#slowDown(nowMs)
  }

  #slowDown(nowMs: number): void {
    this.#refusedFetches = Math.min(this.#limit, this.#active)
    this.#limit = this.#target = Math.max(MIN_FETCHES_WHEN_SLOW, Math.floor(this.#refusedFetches / 2))
    this.#fellMs = nowMs
  }

  #grow(nowMs: number): void {
    if (this.#limit < NO_LIMIT) {
      if (this.#limit < this.#target) this.#limit = Math.min(this.#limit + 1, this.#target)
      else this.#limit += 1 / (this.#limit * (this.#limit + 1 >= this.#refusedFetches ? CAUTION : 1))
      if (this.#limit >= NO_LIMIT) this.#limit = this.#target = this.#refusedFetches = Number.POSITIVE_INFINITY
    }
    if (this.#rate < NO_RATE) {
      const seconds = Math.min(MAX_GROWTH_S, (nowMs - this.#rateGrownMs) / 1_000)
      this.#rate *= (this.#rate < NEAR * this.#refusedRate ? QUICK_GROWTH : SLOW_GROWTH) ** seconds
      this.#rateGrownMs = nowMs
      if (this.#rate >= NO_RATE) this.#rate = this.#refusedRate = Number.POSITIVE_INFINITY
    }
  }

  /**
   * A request was given up after all its attempts, of which the first began at `sinceMs`. If the origin has answered nobody
   * since then, the others need not wait one for another to learn the same.
   */
  gaveUp(sinceMs: number): void {
    if (this.#answeredMs < sinceMs) this.#isDown = true
  }

  /** The origin has refused a request that it would have answered if it had been asked less. */
  refused({ startedMs, nowMs, waitMs, by }: OriginRefusal): void {
    this.refusals++
    this.#lastRefused = { by: new WeakRef(by), atMs: nowMs }
    const isTooLong = waitMs !== null && waitMs > (this.#options.maxWaitMs ?? Number.POSITIVE_INFINITY)
    if (isTooLong && ++this.#longRefusalsInARow >= LONG_REFUSALS) {
      this.#closedUntilMs = nowMs + Math.min(waitMs, MAX_CLOSED_MS)
    }
    if (this.#isDown) return
    const askedMs = isTooLong ? null : waitMs
    const others = Math.max(0, this.#active - 1)
    if (startedMs >= this.#fellMs) this.#fall(nowMs, askedMs, others)
    else if (askedMs !== null) this.#gateMs = Math.max(this.#gateMs, nowMs + askedMs)
    if (others > 0) this.#target = Math.min(this.#target, others)
    // After a pause, one request goes first.
    this.#limit = askedMs === null && others > 0 ? this.#target : 1
    this.#grantedSinceMs = Math.max(this.#gateMs, nowMs)
  }

  #fall(nowMs: number, askedMs: number | null, others: number): void {
    const isAlone = others === 0
    // A request that was alone was not refused because of others.
    if (!isAlone) this.#refusedFetches = Math.min(this.#limit, others + 1)
    const fetches = isAlone ? Math.min(this.#limit, NO_LIMIT) : this.#refusedFetches
    this.#target = Math.max(1, Math.floor(fetches / 2))
    if (this.#granted === 0) this.#refusalsInARow++
    else if (askedMs !== null || isAlone) {
      this.#spell = { sinceMs: this.#grantedSinceMs ?? nowMs, granted: this.#granted }
    }
    this.#granted = 0
    this.#fellMs = nowMs
    // While others are under way, the next place is free when one of them is over.
    const pauseMs = askedMs ?? (isAlone ? this.#pauseMs() : 0)
    this.#gateMs = Math.max(this.#gateMs, nowMs + pauseMs)
  }

  #pauseMs(): number {
    const { random = Math.random } = this.#options
    return Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#refusalsInARow) * (1 + random() / 2)
  }

  /** The first answer after refusals shows how long what was granted before them had to last. */
  #learnRate(nowMs: number): void {
    if (this.#spell === null) return
    const { sinceMs, granted } = this.#spell
    this.#spell = null
    this.#refusedRate = this.#rate
    const measured = (1_000 * granted) / Math.max(nowMs - sinceMs, MIN_SPELL_MS)
    this.#rate = Math.max(MIN_RATE, measured, this.#rate < NO_RATE ? this.#rate / 2 : 0)
    this.#rateGrownMs = nowMs
    this.#nextMs = nowMs + 1_000 / this.#rate
  }
}
