// What every peer is: a way to make archives of a list of URLs, that can be run once and measured.
import type { Sample } from '../table.ts'
import type { Workload, WorkloadName } from '../workloads.ts'

/** What an archive is made of. */
export interface Source {
  readonly urls: readonly string[]
  /** The same, a line each. */
  readonly listPath: string
  /** All files in one, for a peer that only passes on. */
  readonly allInOneUrl: string
}

/** One run. */
export interface Trial {
  readonly workload: Workload
  readonly source: Source
  /** The same files from an origin that is not late, for the second time that a check needs them. */
  readonly prompt: Source
  /** Some small files of the same origin, for a server's first archives, and how many of these it makes. */
  readonly warmUp: Source
  readonly warmUps: number
  /** What signed the origin's certificate; null if there is none. */
  readonly caPath: string | null
  /** Empty, of this run's own, and removed after it. */
  readonly directory: string
  /** `sizeBytes` is what was served; null if the archive is the file itself. @throws WrongArchive */
  check(path: string, sizeBytes: number | null): Promise<void>
}

export type Presence = { readonly version: string } | { readonly missing: string }

/**
 * Where a peer is slow it runs in the `first` round alone, and where it takes minutes `on-request`, both unless all peers
 * are asked for; `never` where it has nothing to say.
 */
export type Seldom = Partial<Record<WorkloadName, 'first' | 'on-request' | 'never'>>

export interface Peer {
  readonly name: string
  readonly about: string
  /** Where it does not run in every round. */
  readonly seldom: Seldom
  /** Its version, or how it is to be had. */
  probe(): Promise<Presence>
  /** Checks what it has made, outside the measured time. */
  run(trial: Trial): Promise<Sample>
}
