// Asks origins what they would send: by HEAD and, if that is refused, by GET for the first byte. Receives no body.
import type { EntryFailureCode } from '#contracts/failures.ts'
import type { Clock } from '../lib/clock.ts'
import { Attempt, type AttemptFailed, type AttemptLimits, type AttemptOutcome } from './attempt.ts'
import type { FetchBudget, Release } from './budget.ts'
import { type FetchDispatcher, releaseAfterDial } from './dispatcher.ts'
import { createOrigins, type Origins } from './origins/origins.ts'
import type { OriginPace } from './origins/pace.ts'
import type { ResponseFacts } from './response.ts'
import { askedWaitMs, isRefusal, isRefusingStatus } from './retry.ts'

export interface ProbeOptions {
  readonly dispatcher: FetchDispatcher
  readonly budget: FetchBudget
  readonly limits: AttemptLimits
  readonly clock: Clock
  readonly userAgent: string
  /** What is known of origins, as the budget has it. @default nothing */
  readonly origins?: Origins
}

export interface ProbeTarget {
  readonly index: number
  readonly url: URL
}

/** A target, and how it is asked for. */
interface Question extends ProbeTarget {
  readonly asksFor: 'head' | 'first-byte'
  readonly refusals: number
}

export type ProbeOutcome =
  | ({ readonly ok: true; readonly sizeBytes: number | null } & Omit<ResponseFacts, 'lastModified'>)
  | { readonly ok: false; readonly code: EntryFailureCode; readonly httpStatus: number | null }

/**
 * Asks for the targets in order, as far as their origins have room. Resolves to the outcomes by index once all are in.
 * If `signal` aborts, it resolves at once to those that are in. It gets the same share of the budget as an archive of
 * that client.
 */
export type Probe = (
  targets: Iterable<ProbeTarget>,
  signal: AbortSignal,
  client?: string,
) => Promise<Map<number, ProbeOutcome>>

/** At most this many targets are queued or under way. The budget decides how many of them run. */
const LOOKAHEAD = 512
/** Deadlines are checked this often, so they may be late by as much. */
const CHECK_EVERY_MS = 100
/** These are about who asks, or final about the file: a GET would be answered the same (RFC 9110 section 15.5). */
const PLAIN_REFUSALS: ReadonlySet<number> = new Set([401, 407, 410, 429])
/** A file that an origin refuses while it answers others is asked for so often again. */
const MAX_REFUSALS = 3

export function createProbe({
  dispatcher,
  budget,
  limits,
  clock,
  userAgent,
  origins = createOrigins(),
}: ProbeOptions): Probe {
  return (targets, signal, client) =>
    new Promise((resolve) => {
      const outcomes = new Map<number, ProbeOutcome>()
      const underWay = new Map<number, Attempt>()
      const left = Iterator.from(targets)
      const lane = budget.openLane({ mayStart: () => true, client })
      let open = 0
      let ended = false
      const ticker = setInterval(() => {
        const nowMs = clock.monotonicMs()
        for (const attempt of underWay.values()) attempt.check(nowMs)
      }, CHECK_EVERY_MS)
      signal.addEventListener('abort', end, { once: true })
      if (signal.aborted) end()
      else fill()

      function fill(): void {
        while (!ended && open < LOOKAHEAD) {
          const { value: target, done } = left.next()
          if (done) break
          open++
          enqueue({ ...target, asksFor: 'head', refusals: 0 })
        }
        if (open === 0) end()
      }

      function enqueue(question: Question): void {
        const { index, url } = question
        lane.add({ order: index, origin: url.origin, start: (release, pace) => ask(question, release, pace) })
      }

      function ask(question: Question, release: Release, pace: OriginPace): void {
        const { index, url, asksFor } = question
        const startedMs = clock.monotonicMs()
        let sizeBytes: number | null = null
        let isAnswered = false
        const sink = { begin: (size: number | null) => (sizeBytes = size), write: () => true, whenReady: () => {} }
        const done = (outcome: AttemptOutcome) => {
          if (!isAnswered) pace.answered()
          const isRefused =
            !outcome.ok && isRefusal(outcome, { serves: pace.serves(clock.monotonicMs()), isQueueing: false })
          if (isRefused) {
            const waitMs = askedWaitMs(outcome, clock.wallMs())
            pace.refused({ startedMs, nowMs: clock.monotonicMs(), waitMs, by: question.url })
          }
          releaseAfterDial(dispatcher, attempt, release, null)
          underWay.delete(index)
          if (ended) return
          const next = outcome.ok ? null : again(question, outcome, isRefused)
          if (next !== null) return enqueue(next)
          outcomes.set(index, read(outcome, sizeBytes))
          open--
          fill()
        }
        let attempt: Attempt | null = null
        attempt = new Attempt(dispatcher, {
          url,
          asksFor,
          userAgent,
          sink,
          received: null,
          limits,
          clock,
          ruleFor: origins.ruleFor,
          sent: (nowMs) => pace.sent(nowMs),
          answered(status, answerMs) {
            isAnswered = true
            pace.answered()
            if (!isRefusingStatus(status)) pace.served({ startedMs, nowMs: clock.monotonicMs(), answerMs })
          },
          done,
        })
        // An attempt that could not be sent has already called `done`.
        if (!ended && !outcomes.has(index)) underWay.set(index, attempt)
      }

      function end(): void {
        if (ended) return
        ended = true
        clearInterval(ticker)
        signal.removeEventListener('abort', end)
        lane.close()
        for (const attempt of [...underWay.values()]) attempt.end('ENTRY_TIMEOUT')
        resolve(outcomes)
      }
    })
}

/** What is asked next of the same file; null if what was answered stands. */
function again(question: Question, { code, httpStatus }: AttemptFailed, isRefused: boolean): Question | null {
  if (isRefused && question.refusals < MAX_REFUSALS) return { ...question, refusals: question.refusals + 1 }
  const isOfHead = code === 'HTTP_STATUS' && !PLAIN_REFUSALS.has(httpStatus ?? 0)
  return isOfHead && question.asksFor === 'head' ? { ...question, asksFor: 'first-byte' } : null
}

function read(outcome: AttemptOutcome, sizeBytes: number | null): ProbeOutcome {
  if (outcome.ok) {
    const { contentType, contentDisposition, finalUrl } = outcome
    return { ok: true, sizeBytes, finalUrl, contentType, contentDisposition }
  }
  const { code, httpStatus } = outcome
  return { ok: false, code, httpStatus }
}
