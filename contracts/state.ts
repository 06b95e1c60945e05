// Computes the state of an archive from its events, with one pure function for the page, the CLI and programs.
import type { AcceptedEvent, ArchiveEvent, FileFailedEvent, Progress, TerminalEvent } from './events.ts'

export interface ArchiveState {
  readonly accepted: AcceptedEvent | null
  readonly progress: Progress | null
  /** In the order of their events. */
  readonly failures: readonly FileFailedEvent[]
  /** Set once no event follows any more. */
  readonly terminal: TerminalEvent | null
}

export const initialState: ArchiveState = { accepted: null, progress: null, failures: [], terminal: null }

/** A stream without a cursor begins with `accepted` and repeats all events, so `accepted` resets the state. */
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

/** The fraction of entries that are sealed or failed, from 0 to 1, for a progress bar. */
export function settledFraction({ progress, terminal }: ArchiveState): number {
  if (terminal?.type === 'complete') return 1
  if (progress === null || progress.totalEntries === 0) return 0
  return (progress.sealedEntries + progress.failedEntries) / progress.totalEntries
}
