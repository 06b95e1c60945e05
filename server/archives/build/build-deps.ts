// What a build is made with, for all builds of a client the same, and what it shows of itself.
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
  /** Of what became of an archive that was aborted. */
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
  /** Whose archive it is, by address: what clients share out is counted by it. */
  readonly client: string
}

/** Where the build stands, and the last fact that is reflected in it. */
export interface Snapshot {
  /** Of `news`. */
  readonly version: number
  readonly seq: number
  readonly progress: Progress
  /** The progress as JSON, to compare by. */
  readonly text: string
}
