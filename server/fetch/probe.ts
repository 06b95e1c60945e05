// Asks origins by HEAD what they would send, with one attempt for each file, within the budget. Receives no body.
import type { EntryFailureCode } from '#contracts/failures.ts'
import type { Clock } from '../lib/clock.ts'
import { Attempt, type AttemptLimits, type AttemptOutcome } from './attempt.ts'
import type { FetchBudget, Release } from './budget.ts'
import { type FetchDispatcher, releaseAfterDial } from './dispatcher.ts'
import type { ResponseFacts } from './response.ts'

export interface ProbeOptions {
  readonly dispatcher: FetchDispatcher
  readonly budget: FetchBudget
  readonly limits: AttemptLimits
  readonly clock: Clock
  readonly userAgent: string
}

export interface ProbeTarget {
  readonly index: number
  readonly url: URL
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
/** RFC 9110 sections 15.5.6 and 15.6.2: these refuse the method, not the file. A GET may still succeed. */
const NO_HEAD_STATUSES: ReadonlySet<number> = new Set([405, 501])

export function createProbe({ dispatcher, budget, limits, clock, userAgent }: ProbeOptions): Probe {
  return (targets, signal, client) =>
    new Promise((resolve) => {
      const outcomes = new Map<number, ProbeOutcome>()
      const underWay = new Map<number, Attempt>()
      const left = Iterator.from(targets)
      const lane = budget.openLane(() => true, client)
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
          lane.add({ order: target.index, origin: target.url.origin, start: (release) => ask(target, release) })
        }
        if (open === 0) end()
      }

      function ask({ index, url }: ProbeTarget, release: Release): void {
        let sizeBytes: number | null = null
        const sink = { begin: (size: number | null) => (sizeBytes = size), write: () => true, whenReady: () => {} }
        const done = (outcome: AttemptOutcome) => {
          releaseAfterDial(dispatcher, attempt, release, null)
          const finalUrl = attempt?.url ?? url
          underWay.delete(index)
          if (ended) return
          outcomes.set(index, read(outcome, sizeBytes, finalUrl))
          open--
          fill()
        }
        let attempt: Attempt | null = null
        attempt = new Attempt(dispatcher, {
          url,
          method: 'HEAD',
          userAgent,
          sink,
          received: null,
          limits,
          clock,
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

function read(outcome: AttemptOutcome, sizeBytes: number | null, finalUrl: URL): ProbeOutcome {
  if (outcome.ok) {
    const { contentType, contentDisposition } = outcome
    return { ok: true, sizeBytes, finalUrl: outcome.finalUrl, contentType, contentDisposition }
  }
  const { code, httpStatus } = outcome
  if (code !== 'HTTP_STATUS' || !NO_HEAD_STATUSES.has(httpStatus ?? 0)) return { ok: false, code, httpStatus }
  return { ok: true, sizeBytes: null, finalUrl, contentType: null, contentDisposition: null }
}
