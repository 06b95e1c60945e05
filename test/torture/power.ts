// Power failures: what clients were told is true of the disk, too, whenever it is cut.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { FileSystem } from './cut-disk.ts'
import { BrokenPromise, type Proof, tellAll } from './scope.ts'

export interface PowerAsked {
  readonly directory: string
  readonly fileSystem: FileSystem
  readonly cuts: number
  /** No further cut after that. */
  readonly seconds: number
  readonly clients: number
  readonly seed: number
}

export interface PowerOutcome {
  cuts: number
  /** Archives that were there after a cut, and came to their end. */
  accepted: number
  /** Of these, complete before. */
  complete: number
  /** Downloads that were continued where they were, and those that were begun again. */
  resumed: number
  begunAgain: number
}

const STAGE = fileURLToPath(new URL('./power-stage.ts', import.meta.url))

/** Its processes and mounts are in namespaces of their own: whatever ends it takes all of them away. */
const ALONE = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc']

/**
 * @throws BrokenPromise
 * @throws if mounting is not permitted, or there is no XFS: then nothing of this can be proved
 */
export async function cutPower(asked: PowerAsked): Promise<PowerOutcome> {
  const parameters = [...ALONE, process.execPath, STAGE, JSON.stringify(asked)]
  const child = spawn('unshare', parameters, { stdio: ['ignore', 'pipe', 'pipe'] })
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  const last = stdout.trim().split('\n').at(-1)
  if (!last) throw new Error(`mounts of one's own are needed, which takes root and is not to be had here: ${stderr}`)
  const { broken, ...outcome } = JSON.parse(last) as PowerOutcome & { broken: string | null }
  if (broken !== null) throw new BrokenPromise(broken)
  return outcome
}

export const power: Proof = {
  summary: 'the disk cut below its file system at --cuts moments, half of them on ext4 and half on XFS',
  async prove(scope) {
    const { settings, directory, random } = scope
    for (const fileSystem of ['ext4', 'xfs'] as const) {
      const own = join(directory, fileSystem)
      await mkdir(own)
      const startedAt = performance.now()
      const { cuts, accepted, complete, resumed, begunAgain } = await cutPower({
        directory: own,
        fileSystem,
        cuts: Math.ceil(settings.cuts / 2),
        seconds: Number.MAX_SAFE_INTEGER / 1000,
        clients: settings.clients,
        seed: Math.floor(random() * 2 ** 31),
      })
      await rm(own, { recursive: true, force: true })
      tellAll(scope, {
        [`cuts on ${fileSystem}`]: `${cuts} in ${Math.round((performance.now() - startedAt) / 1000)} s`,
        'archives looked at': `${accepted}, all there and complete; of them complete before: ${complete}, the same bytes`,
        'downloads continued': `${resumed}, and ${begunAgain} begun again; none of two archives`,
      })
    }
  },
}
