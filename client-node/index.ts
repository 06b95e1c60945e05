// The public exports of the Node client. It has no code of its own.
export type { ArchivePlan, EntryStatus, PlannedEntry, ServerInfo } from '#contracts/api.ts'
export type { ArchiveFormat, ArchiveId, ArchiveKey, EntryInput, PlanArchiveInput } from '#contracts/archive.ts'
export { type ConnectionOptions, newArchiveKey, RefusedError, UnreachableError } from '#contracts/client.ts'
export {
  type AbortedEvent,
  type AcceptedEvent,
  type ArchiveEvent,
  type CompleteEvent,
  type FileFailedEvent,
  isTerminal,
  type Progress,
  type ProgressEvent,
  type TerminalEvent,
} from '#contracts/events.ts'
export type { AbortCode, EntryFailureCode, RefusalCode, RefusalData } from '#contracts/failures.ts'
export { type ArchiveState, fold, initialState, settledFraction } from '#contracts/state.ts'
export {
  type ArchiveEvents,
  type ArchiveRequest,
  type CallOptions,
  createSheafClient,
  type DownloadSource,
  type SheafClient,
} from './client.ts'
export { DownloadError, type Downloaded, type DownloadFailure, type DownloadProgress } from './download.ts'
export { ArchiveAbortedError, type SavedArchive, type SaveOptions } from './save.ts'
export type { Stored, StoreOptions } from './store.ts'
