// Writes the console's line for an event. Pure: event and the state before it in, a line or nothing out.
import type { ArchiveEvent, ProgressEvent } from '#contracts/events.ts'
import { formatBytes } from '#contracts/sizes.ts'
import type { ArchiveState } from '#contracts/state.ts'
import { count, formatDuration, formatRate } from './format.ts'

export interface ConsoleLine {
  /** Counts up, so that the view can keep the node of a line. */
  readonly key: number
  readonly at: Date
  readonly tone: 'plain' | 'good' | 'bad'
  readonly text: string
}

export type LineText = Pick<ConsoleLine, 'tone' | 'text'>

/** With more lines the oldest are dropped: twenty thousand failures must not become twenty thousand nodes. */
export const MAX_LINES = 500

export function appendLine(lines: readonly ConsoleLine[], line: LineText, at = new Date()): ConsoleLine[] {
  const key = (lines.at(-1)?.key ?? 0) + 1
  return [...lines.slice(-(MAX_LINES - 1)), { ...line, key, at }]
}

/** Null for progress with little news: several such events come each second, and the bar shows them all. */
export function lineOf(event: ArchiveEvent, before: ArchiveState): LineText | null {
  switch (event.type) {
    case 'accepted':
      return plain(`accepted: ${event.name}, ${entries(event.totalEntries)}`)
    case 'progress':
      return progressLine(event, before)
    case 'file-failed': {
      const status = event.httpStatus === null ? '' : ` (HTTP ${event.httpStatus})`
      return bad(`failed: #${event.index + 1} ${event.url}: ${event.code}${status}, ${event.message}`)
    }
    case 'complete': {
      const without = event.failedEntries > 0 ? `, ${event.failedEntries.toLocaleString('en')} failed` : ''
      const size = formatBytes(event.sizeBytes)
      const duration = formatDuration(event.durationMs)
      return { tone: 'good', text: `complete: ${entries(event.sealedEntries)}${without}, ${size} in ${duration}` }
    }
    case 'aborted':
      return bad(`ended: ${event.code}, ${event.message}`)
    default:
      return event satisfies never
  }
}

/** There is a line when the phase or the place in the queue changes, and for each tenth of the entries. */
function progressLine(event: ProgressEvent, { progress: before }: ArchiveState): LineText | null {
  if (event.phase === 'queued') {
    if (before?.phase === 'queued' && before.queuePosition === event.queuePosition) return null
    const ahead = event.queuePosition ?? 0
    return plain(
      ahead === 0 ? 'queued: next in line' : `queued: ${count(ahead, 'archive', 'archives')} before this one`,
    )
  }
  const phaseIsNew = before?.phase !== event.phase
  if (event.phase === 'packing') return phaseIsNew ? plain('packing') : null
  if (!phaseIsNew && tenth(before) === tenth(event)) return null
  const settled = event.sealedEntries + event.failedEntries
  if (settled === 0) return phaseIsNew ? plain('fetching') : null
  const finished = `${settled.toLocaleString('en')} of ${entries(event.totalEntries)}`
  const rate = event.bytesPerSecond > 0 ? `, ${formatRate(event.bytesPerSecond)}` : ''
  return plain(`fetching: ${finished}, ${formatBytes(event.receivedBytes)}${rate}`)
}

function tenth({ sealedEntries, failedEntries, totalEntries }: Omit<ProgressEvent, 'type'>): number {
  return Math.floor((10 * (sealedEntries + failedEntries)) / totalEntries)
}

const plain = (text: string): LineText => ({ tone: 'plain', text })
const bad = (text: string): LineText => ({ tone: 'bad', text })
const entries = (number: number) => count(number, 'entry', 'entries')
