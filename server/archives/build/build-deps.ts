// The types of what a build needs from outside, and of the snapshot that it shows.
import type { Progress } from '#contracts/events.ts'
import type { Fetcher } from '../../fetch/fetcher.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { Deflater } from '../../zip/deflate.ts'
import type { StagingMemory } from '../bytes/staging-memory.ts'
import type { BuildJournal, BuildSpool } from './patience.ts'

export interface BuildLimits {
  readonly maxArchiveBytes: number
  readonly archiveTimeoutMs: number
  readonly retentionMs: number
  /** How long the outcome of an aborted archive is kept. */
  readonly abortedRetentionMs: number
}

export interface BuildDeps {
  readonly journal: BuildJournal
  readonly spool: BuildSpool
  readonly fetcher: Fetcher
  readonly staging: StagingMemory
  readonly deflater: Deflater
  readonly clock: Clock
  readonly log: Log
  readonly limits: BuildLimits
  /** Address of the client for which the archive is built. Shares are counted by it. */
  readonly client: string
}

/** The progress of a build at one moment. */
export interface Snapshot {
  /** The version of `news` at that moment. */
  readonly version: number
  /** The last fact that the progress reflects. */
  readonly seq: number
  readonly progress: Progress
  /** The progress as JSON, so that two snapshots are quick to compare. */
  readonly text: string
}
