// The dry run: what would be in an archive, under which names, how large. Fetches no body, writes and keeps nothing.
import { isIP } from 'node:net'
import { setImmediate as breathe } from 'node:timers/promises'
import type { ArchivePlan, Caller, PlannedEntry } from '#contracts/api.ts'
import { type EntryInput, nameOf, type PlanArchiveInput, REPORT_NAME, urlOf } from '#contracts/archive.ts'
import { type EntryFailureCode, entryFailures, Refusal } from '#contracts/failures.ts'
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
  /** Plans under way, by client address; beyond it they are refused as BUSY. */
  plans: Quota
  /** For asking all origins of one plan; below the 60 s that proxies wait for an answer. @default 45_000 */
  deadlineMs?: number
}

export type Planner = (input: PlanArchiveInput, caller: Caller, signal: AbortSignal) => Promise<ArchivePlan>

const DEADLINE_MS = 45_000
/** So long names are found; then others have a turn. By time, as a name can cost some ten or a thousand microseconds. */
const TURN_MS = 10

export function createPlanner({ probe, policy, plans, deadlineMs = DEADLINE_MS }: PlannerOptions): Planner {
  /** What may be asked for, or why not, without asking anybody: names are not resolved. */
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
        const { publicMessage: message, retryable } = entryFailures[code]
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

/** What the manifest alone says. */
function factsOf(verdict: URL | EntryFailureCode): ProbeOutcome {
  if (typeof verdict === 'string') return { ok: false, code: verdict, httpStatus: null }
  return { ok: true, sizeBytes: null, finalUrl: verdict, contentType: null, contentDisposition: null }
}

/** Null if a size is not known, or if there would be no archive at all. */
function predict(planned: readonly PlannedEntry[]): number | null {
  const members: { name: string; sizeBytes: number }[] = []
  for (const { name, sizeBytes } of planned) {
    if (name === null) continue
    if (sizeBytes === null) return null
    members.push({ name, sizeBytes })
  }
  return members.length === 0 ? null : storedZipBytes(members)
}
