// Shows how far the archive has come: headline, bar, numbers, entries under way. Pure: state in, template out.
import { html, nothing, type TemplateResult } from 'lit'
import type { ActiveEntry, Progress, WaitingOrigin } from '#contracts/events.ts'
import { formatBytes } from '#contracts/sizes.ts'
import { type ArchiveState, settledFraction } from '#contracts/state.ts'
import type { RunView } from './archive-run.ts'
import { count, formatDuration, formatRate, formatTimeLeft, timeLeftMs } from './format.ts'

/** `urlOf` returns the URL of an entry by its place in the list, if the page still has the list. */
export function progressView(
  { archive, stage }: Pick<RunView, 'archive' | 'stage'>,
  urlOf: (index: number) => string | undefined,
): TemplateResult {
  const { progress, terminal } = archive
  const failed = terminal?.type === 'complete' ? terminal.failedEntries : (progress?.failedEntries ?? 0)
  const total = archive.accepted?.totalEntries ?? 0
  const settled = Math.round(settledFraction(archive) * total)
  const waiting = stage !== 'over' && (progress === null || progress.phase === 'queued')
  const now = headline(archive, stage)
  return html`
    <p class="now">${now}</p>
    <div
      class="bar ${waiting ? 'waiting' : ''} ${terminal?.type === 'aborted' ? 'ended' : ''}"
      role="progressbar"
      aria-label="Entries finished"
      aria-valuemin="0"
      aria-valuemax=${Math.max(1, total)}
      aria-valuenow=${waiting ? nothing : settled}
      aria-valuetext=${total === 0 ? now : `${now}: ${settled.toLocaleString('en')} of ${count(total, 'entry', 'entries')}`}
    >
      <div class="sealed" style="width: ${percent(settled - failed, total)}"></div>
      <div class="failed" style="width: ${percent(failed, total)}"></div>
      <div class="under-way" style="width: ${percent(stage === 'over' ? 0 : partsUnderWay(progress), total)}"></div>
    </div>
    <dl class="numbers">
      ${numbers(archive, settled, failed, stage).map(
        ([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`,
      )}
    </dl>
    ${stage === 'over' ? nothing : progress?.waiting.slice(0, MAX_WAITING).map(waitingView)}
    ${stage === 'over' || !progress?.active.length ? nothing : activeView(progress.active, urlOf)}
  `
}

function headline({ progress, terminal }: ArchiveState, stage: RunView['stage']): string {
  if (terminal?.type === 'complete') return 'Complete'
  if (terminal?.type === 'aborted') return terminal.code === 'CANCELLED' ? 'Cancelled' : 'Ended without an archive'
  if (stage === 'cancelling') return 'Cancelling'
  switch (progress?.phase) {
    case undefined:
      return 'Waiting for the server'
    case 'queued': {
      const ahead = progress?.queuePosition ?? 0
      return ahead === 0 ? 'Queued: next in line' : `Queued: ${count(ahead, 'archive', 'archives')} before this one`
    }
    case 'fetching':
      return 'Fetching'
    case 'packing':
      return 'Packing'
  }
}

function numbers(
  { accepted, progress, terminal }: ArchiveState,
  settled: number,
  failed: number,
  stage: RunView['stage'],
): [string, string][] {
  const total = accepted?.totalEntries ?? 0
  const finished = accepted === null ? '–' : `${settled.toLocaleString('en')} of ${total.toLocaleString('en')}`
  const rows: [string, string][] = [
    ['Entries', failed > 0 ? `${finished} (${failed.toLocaleString('en')} failed)` : finished],
  ]
  if (terminal?.type === 'complete') {
    rows.push(['Archive', formatBytes(terminal.sizeBytes)], ['Time', formatDuration(terminal.durationMs)])
    return rows
  }
  rows.push(['Received', progress === null ? '–' : received(progress)])
  if (stage === 'over') return rows
  const leftMs = progress === null ? null : timeLeftMs(progress)
  rows.push(['Rate', progress === null || progress.bytesPerSecond <= 0 ? '–' : formatRate(progress.bytesPerSecond)])
  rows.push(['Time left', leftMs === null ? '–' : formatTimeLeft(leftMs)])
  return rows
}

function received({ receivedBytes, expectedBytes }: Progress): string {
  const soFar = formatBytes(receivedBytes)
  return expectedBytes === null || expectedBytes <= receivedBytes ? soFar : `${soFar} of ${formatBytes(expectedBytes)}`
}

/** A page need not name more of them at a time. */
const MAX_WAITING = 3

function waitingView({ origin, untilMs, entries }: WaitingOrigin): TemplateResult {
  const time = formatDuration(Math.max(1_000, Math.ceil(untilMs / 1_000) * 1_000))
  return html`<p class="muted waiting-for">
    ${URL.parse(origin)?.host ?? origin} asked us to wait ${time} (${count(entries, 'entry', 'entries')})
  </p>`
}

/** The list is closed at first, because it changes several times a second. */
function activeView(active: readonly ActiveEntry[], urlOf: (index: number) => string | undefined): TemplateResult {
  return html`
    <details class="active">
      <summary>Under way: ${count(active.length, 'entry', 'entries')}</summary>
      <ul>
        ${active.map(
          ({ index, receivedBytes, sizeBytes, attempt }) => html`
            <li>
              <span class="url">#${index + 1} ${urlOf(index) ?? ''}</span>
              <span class="muted">
                ${formatBytes(receivedBytes)}${sizeBytes === null ? '' : ` of ${formatBytes(sizeBytes)}`}${
                  attempt > 1 ? `, attempt ${attempt}` : ''
                }
              </span>
            </li>
          `,
        )}
      </ul>
    </details>
  `
}

/** Sums the finished fractions of entries under way, so that the bar also moves within large entries. */
function partsUnderWay(progress: Progress | null): number {
  let entries = 0
  for (const { receivedBytes, sizeBytes } of progress?.active ?? []) {
    if (sizeBytes !== null && sizeBytes > 0) entries += Math.min(1, receivedBytes / sizeBytes)
  }
  return entries
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '0%' : `${((100 * Math.max(0, part)) / whole).toFixed(3)}%`
}
