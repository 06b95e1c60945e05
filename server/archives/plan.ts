// The dry run: predicts the entries of an archive, their names and its size. Fetches no body, writes and keeps nothing.
import { isIP } from 'node:net'
import { setImmediate as breathe } from 'node:timers/promises'
import type { ArchivePlan, Caller, PlannedEntry } from '#contracts/api.ts'
import { type EntryInput, nameOf, type PlanArchiveInput, REPORT_NAME, urlOf } from '#contracts/archive.ts'
import { type EntryFailureCode, entryFailures, isRetryable, Refusal } from '#contracts/failures.ts'
import { type AddressPolicy, isPortClosed, judgeAddress } from '../fetch/address.ts'
import { proposeName } from '../fetch/name.ts'
import type { Probe, ProbeOutcome, ProbeTarget } from '../fetch/probe.ts'
import { parseSource, portOf } from '../fetch/source.ts'
import type { Quota } from '../lib/quota.ts'
import { cleanEntryName, createNamer } from '../zip/entry-name.ts'
import { storedZipBytes } from '../zip/size.ts'
import { fileNameOf } from './manifest.ts'

export interface PlannerOptions {
  probe: Probe
  policy: AddressPolicy
  /** Limits the plans under way, by client address. Further plans are refused as BUSY. */
  plans: Quota
  /** Time to ask all origins of one plan. It is below the 60 s that proxies wait for an answer. @default 45_000 */
  deadlineMs?: number
}

export type Planner = (input: PlanArchiveInput, caller: Caller, signal: AbortSignal) => Promise<ArchivePlan>

const DEADLINE_MS = 45_000
/** How long names are made before other work gets a turn. Not a count, because one name takes 10 to 1000 microseconds. */
const TURN_MS = 10

export function createPlanner({ probe, policy, plans, deadlineMs = DEADLINE_MS }: PlannerOptions): Planner {
  /** The URL, or the reason why it may not be fetched. Host names are not resolved here, so only literals are judged. */
  function judge(input: EntryInput): URL | EntryFailureCode {
    const url = parseSource(urlOf(input))
    if (url === null) return 'BAD_URL'
    const port = portOf(url)
    const isLiteral = isIP(url.hostname.replace(/^\[|\]$/g, '')) !== 0
    const isForbidden = isLiteral
      ? judgeAddress(url.hostname, port, policy) === 'forbidden'
      : isPortClosed(port, policy)
    return isForbidden ? 'FORBIDDEN_TARGET' : url
  }

  function* targetsOf(entries: readonly EntryInput[]): Generator<ProbeTarget, void> {
    for (const [index, input] of entries.entries()) {
      const url = judge(input)
      if (typeof url !== 'string') yield { index, url }
    }
  }

  return async (input, { address }, signal) => {
    const { entries, name, format = 'zip', compression = 'store', report = false, head = false } = input
    using place = plans.take(address)
    if (place === null) throw new Refusal('BUSY', 'too many plans at a time')
    const answers = head
      ? await probe(targetsOf(entries), AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]), address)
      : new Map<number, ProbeOutcome>()
    const namer = createNamer()
    if (report) namer.take(REPORT_NAME)
    const planned: PlannedEntry[] = []
    let turnEndsMs = 0
    for (const [index, input] of entries.entries()) {
      if (performance.now() > turnEndsMs) {
        await breathe()
        turnEndsMs = performance.now() + TURN_MS
      }
      signal.throwIfAborted()
      const answer = answers.get(index)
      const asked = answer !== undefined
      const facts = answer ?? factsOf(judge(input))
      if (!facts.ok) {
        const { code, httpStatus } = facts
        const { publicMessage: message } = entryFailures[code]
        const retryable = isRetryable(code, httpStatus)
        planned.push({ index, name: null, sizeBytes: null, asked, failure: { code, message, retryable, httpStatus } })
        continue
      }
      const { sizeBytes, finalUrl, ...sources } = facts
      const proposed = proposeName({ ...sources, requested: nameOf(input), finalUrl, index })
      planned.push({ index, name: namer.take(cleanEntryName(proposed, index)), sizeBytes, asked, failure: null })
    }
    const fileName = fileNameOf(name ?? 'archive', format)
    const isPlain = format === 'zip' && compression === 'store' && !report
    return { name: fileName, format, entries: planned, predictedBytes: isPlain ? predict(planned) : null }
  }
}

/** What is known of an entry if its origin was not asked. */
function factsOf(verdict: URL | EntryFailureCode): ProbeOutcome {
  if (typeof verdict === 'string') return { ok: false, code: verdict, httpStatus: null }
  return { ok: true, sizeBytes: null, finalUrl: verdict, contentType: null, contentDisposition: null }
}

/** Null if a size is unknown, or if no entry is left, because then there is no archive. */
function predict(planned: readonly PlannedEntry[]): number | null {
  const members: { name: string; sizeBytes: number }[] = []
  for (const { name, sizeBytes } of planned) {
    if (name === null) continue
    if (sizeBytes === null) return null
    members.push({ name, sizeBytes })
  }
  return members.length === 0 ? null : storedZipBytes(members)
}
