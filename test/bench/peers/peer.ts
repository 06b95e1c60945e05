// What every peer is: a program that makes archives from a list of URLs, and can be run and measured.
import type { Sample } from '../table.ts'
import type { Workload, WorkloadName } from '../workloads.ts'

/** The files that an archive is made of. */
export interface Source {
  readonly urls: readonly string[]
  /** A file with the same URLs, one on each line. */
  readonly listPath: string
  /** One file that contains all others, for a peer that only passes bytes on. */
  readonly allInOneUrl: string
}

/** One run of one peer. */
export interface Trial {
  readonly workload: Workload
  readonly source: Source
  /** The same files from an origin without a delay, for a check that fetches them once more. */
  readonly prompt: Source
  /** The files of the archives that warm a server. */
  readonly warmUp: Source
  /** How many archives warm a server. */
  readonly warmUps: number
  /** The CA that signed the origin's certificate. Null if the origin has none. */
  readonly caPath: string | null
  /** A directory for this run: empty before, and removed after it. */
  readonly directory: string
  /** `sizeBytes` is how many bytes were served. Null if the archive was a file and not served. @throws WrongArchive */
  check(path: string, sizeBytes: number | null): Promise<void>
}

export type Presence = { readonly version: string } | { readonly missing: string }

/**
 * Workloads that a peer does not run in every round.
 * - `first`: it is slow, and runs in the first round only.
 * - `on-request`: it takes minutes, and does not run.
 * - `never`: its figure would say nothing.
 *
 * If all peers are asked for, `first` and `on-request` run in every round.
 */
export type Seldom = Partial<Record<WorkloadName, 'first' | 'on-request' | 'never'>>

export interface Peer {
  readonly name: string
  readonly about: string
  readonly seldom: Seldom
  /** Returns its version, or how to install it. */
  probe(): Promise<Presence>
  /** Runs and measures the peer, and then checks its archives outside the measured time. */
  run(trial: Trial): Promise<Sample>
}
