// Runs one workload: in each round every peer runs once, one after the other, in a fresh directory that is removed afterwards.
import { mkdir, open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checkZip, WrongArchive } from './check.ts'
import { ALL_IN_ONE, type LaidFiles, layFiles } from './files.ts'
import type { Origins } from './origin.ts'
import type { Peer, Source, Trial } from './peers/peer.ts'
import type { Sample, Samples } from './table.ts'
import { payloadBytes, type Workload } from './workloads.ts'

export interface RunOptions {
  readonly rounds: number
  readonly allPeers: boolean
  readonly seed: number
  readonly warmUps: number
  /** The directory of the spool and of everything that the peers write. */
  readonly directory: string
  /** If true, the files of the last run are kept. */
  readonly keep: boolean
  readonly tell: (line: string) => void
}

export interface Ran {
  readonly samples: ReadonlyMap<string, Samples>
  /** One sentence for each wrong archive. */
  readonly wrong: readonly string[]
  /** Names of peers that failed at least once. */
  readonly failed: readonly string[]
}

/** Small bodies and a few large ones warm the server, because the benchmark measures a server that has run for a while. */
const WARM_UP_BYTES = [...Array<number>(200).fill(10 * 1024), ...Array<number>(8).fill(1024 * 1024)]

/** A peer has at most the files, an archive of the same size, and what it holds in memory. */
const TOUCHED_PER_BYTE = 2.5

/**
 * Touches the memory that a run will use. On a virtual machine, memory that was free for a while first comes back from the
 * host, ten times as slowly as it is used. Without this a run would be slower the longer ago the previous run was.
 */
async function touchMemory(path: string, bytes: number): Promise<void> {
  const piece = Buffer.alloc(1024 * 1024, 1)
  const file = await open(path, 'w')
  for (let written = 0; written < bytes; written += piece.length) await file.write(piece)
  await file.close()
  await rm(path)
}

/** Writes the files of a workload and keeps them while `use` runs, which may open several trials. */
export async function withWorkload<T>(
  workload: Workload,
  origins: Origins,
  { seed, warmUps, directory, keep }: Pick<RunOptions, 'seed' | 'warmUps' | 'directory' | 'keep'>,
  use: (open: () => Promise<Trial>) => Promise<T>,
): Promise<T> {
  const lay = async (name: string, sizesBytes: readonly number[]) => {
    await rm(join(origins.root, name), { recursive: true, force: true })
    return layFiles(join(origins.root, name), sizesBytes, seed)
  }
  const list = async (name: string, folder: string, { names }: LaidFiles, origin: string): Promise<Source> => {
    const urls = names.map((file) => `${origin}/${folder}/${file}`)
    const listPath = join(directory, `${name}.txt`)
    await writeFile(listPath, urls.map((url) => `${url}\n`).join(''))
    return { urls, listPath, allInOneUrl: `${origin}/${folder}/${ALL_IN_ONE}` }
  }
  const laid = await lay('files', Array<number>(workload.entries).fill(workload.entryBytes))
  const source = await list('measured', 'files', laid, origins.urls[workload.origin])
  // The slow origin serves the measured part only: elsewhere its delay would just cost time.
  const promptOrigin = origins.urls[workload.origin === 'slow' ? 'plain' : workload.origin]
  const prompt = await list('prompt', 'files', laid, promptOrigin)
  const warmUp = await list('warm-up', 'warm-up', await lay('warm-up', WARM_UP_BYTES), promptOrigin)
  const own = join(directory, 'trial')
  const openTrial = async (): Promise<Trial> => {
    await rm(own, { recursive: true, force: true, maxRetries: 5 })
    await mkdir(own)
    await touchMemory(join(own, 'touched'), payloadBytes(workload) * TOUCHED_PER_BYTE)
    return {
      workload,
      source,
      prompt,
      warmUp,
      warmUps,
      caPath: workload.origin === 'tls' ? origins.caPath : null,
      directory: own,
      check: (path, sizeBytes) => checkZip(path, sizeBytes, laid.expected),
    }
  }
  try {
    return await use(openTrial)
  } finally {
    const gone = keep ? [] : [own, join(origins.root, 'files')]
    for (const path of gone) await rm(path, { recursive: true, force: true, maxRetries: 5 })
  }
}

export async function runRounds(
  workload: Workload,
  peers: readonly Peer[],
  open: () => Promise<Trial>,
  { rounds, allPeers, tell }: RunOptions,
): Promise<Ran> {
  const wrong: string[] = []
  const failed = new Set<string>()
  const seldomIs = (peer: Peer) => peer.seldom[workload.name]
  const taking = peers.filter((peer) => seldomIs(peer) !== 'never' && (seldomIs(peer) !== 'on-request' || allPeers))
  const samples = new Map<string, (Sample | null)[]>(taking.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const peer of taking) {
      const isOut = round > 0 && !allPeers && seldomIs(peer) === 'first'
      // A peer that failed once would fail again.
      const sample = isOut || failed.has(peer.name) ? null : await attempt(peer, round)
      samples.get(peer.name)!.push(sample)
    }
  }
  return { samples, wrong, failed: [...failed] }

  async function attempt(peer: Peer, round: number): Promise<Sample | null> {
    const about = `${workload.name} round ${round + 1}/${rounds} ${peer.name}`
    try {
      const sample = await peer.run(await open())
      tell(`${about}: ${(sample.wallMs / 1000).toFixed(2)} s`)
      return sample
    } catch (error) {
      const { message } = error as Error
      if (error instanceof WrongArchive) wrong.push(`${about}: WRONG ARCHIVE: ${message}`)
      failed.add(peer.name)
      tell(`${about}: ${error instanceof WrongArchive ? 'WRONG ARCHIVE' : 'failed'}: ${message}`)
      return null
    }
  }
}
