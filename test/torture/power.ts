// Power failures: whatever clients have been told must also be on the disk, whenever the power fails.
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
  /** After this time there are no more cuts. */
  readonly seconds: number
  readonly clients: number
  readonly seed: number
}

export interface PowerOutcome {
  cuts: number
  /** Archives that were still there after a cut, and became complete. */
  accepted: number
  /** Those of them that were complete before the cut. */
  complete: number
  /** Downloads that went on from where they were. */
  resumed: number
  /** Downloads that had to begin again. */
  begunAgain: number
}

const STAGE = fileURLToPath(new URL('./power-stage.ts', import.meta.url))

/** Its processes and mounts are in namespaces of their own, so that all of them are gone when it ends in any way. */
const ALONE = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc']

/**
 * @throws BrokenPromise
 * @throws if mounting is not permitted or there is no XFS, because nothing could be proved then
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
