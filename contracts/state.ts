// The state of an archive as a pure reading of its events; one function for the page, the CLI and whoever embeds them.
import type { AcceptedEvent, ArchiveEvent, FileFailedEvent, Progress, TerminalEvent } from './events.ts'

export interface ArchiveState {
  readonly accepted: AcceptedEvent | null
  readonly progress: Progress | null
  /** In the order they were told. */
  readonly failures: readonly FileFailedEvent[]
  /** Set once nothing follows any more. */
  readonly terminal: TerminalEvent | null
}

export const initialState: ArchiveState = { accepted: null, progress: null, failures: [], terminal: null }

/** A stream without a cursor starts with `accepted` and tells everything again, so `accepted` starts afresh. */
export function fold(state: ArchiveState, event: ArchiveEvent): ArchiveState {
  switch (event.type) {
    case 'accepted':
      return { ...initialState, accepted: event }
    case 'progress':
      return { ...state, progress: event }
    case 'file-failed':
      return { ...state, failures: [...state.failures, event] }
    case 'complete':
    case 'aborted':
      return { ...state, terminal: event }
    default:
      return event satisfies never
  }
}

/** Entries that are sealed or failed, of all: what a progress bar shows, 0 to 1. */
export function settledFraction({ progress, terminal }: ArchiveState): number {
  if (terminal?.type === 'complete') return 1
  if (progress === null || progress.totalEntries === 0) return 0
  return (progress.sealedEntries + progress.failedEntries) / progress.totalEntries
}
