// What a build is made with: the same for all builds of a process.
import type { Fetcher } from '../fetch/fetcher.ts'
import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Journal } from '../ports/journal.ts'
import type { Spool } from '../ports/spool.ts'
import type { StagingBudget } from './staging.ts'

export interface BuildLimits {
  readonly maxArchiveBytes: number
  readonly archiveTimeoutMs: number
  readonly retentionMs: number
}

export interface BuildParts {
  readonly journal: Journal
  readonly spool: Spool
  readonly fetcher: Fetcher
  readonly staging: StagingBudget
  readonly clock: Clock
  readonly log: Log
  readonly limits: BuildLimits
}
