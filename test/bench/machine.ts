// What a run was made on: machine, versions, file system. Reads only.
import { readFileSync, realpathSync } from 'node:fs'
import { cpus, release } from 'node:os'

export interface Machine {
  readonly date: string
  readonly cpu: string
  readonly kernel: string
  readonly node: string
  /** Of the spool, the files and what the peers make. */
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

/** The type of the mount that is nearest above the path; a later one hides an earlier one on the same point. */
export function fileSystemOf(mounts: string, path: string): string {
  let best = { point: '', type: 'unknown' }
  for (const line of mounts.trim().split('\n')) {
    const [, point = '', type = ''] = line.split(' ')
    const isAbove = point === '/' || path === point || path.startsWith(`${point}/`)
    if (isAbove && point.length >= best.point.length) best = { point, type }
  }
  return best.type
}
