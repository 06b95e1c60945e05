// Describes what a run was made on: machine, versions, file system.
import { readFileSync, realpathSync } from 'node:fs'
import { cpus, release } from 'node:os'

export interface Machine {
  readonly date: string
  readonly cpu: string
  readonly kernel: string
  readonly node: string
  /** The file system of the spool and of everything that the peers write. */
  readonly fileSystem: string
}

export function describeMachine(directory: string): Machine {
  const cores = cpus()
  return {
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    cpu: `${cores.length} x ${cores[0]?.model.trim() ?? 'unknown'}`,
    kernel: release(),
    node: process.version,
    fileSystem: fileSystemOf(readFileSync('/proc/mounts', 'utf8'), realpathSync(directory)),
  }
}

/** The type of the mount that holds the path. A later mount hides an earlier one at the same point. */
export function fileSystemOf(mounts: string, path: string): string {
  let best = { point: '', type: 'unknown' }
  for (const line of mounts.trim().split('\n')) {
    const [, point = '', type = ''] = line.split(' ')
    const isAbove = point === '/' || path === point || path.startsWith(`${point}/`)
    if (isAbove && point.length >= best.point.length) best = { point, type }
  }
  return best.type
}
