// Reads process trees from /proc: children, CPU time, peak memory. Works on Linux only.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** USER_HZ, the unit of times in /proc/PID/stat. It is the same on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

/** Returns the process and all its descendants that still run. */
export function treeOf(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(treeOf)]
}

function childrenOf(pid: number): number[] {
  const threads = attempt(() => readdirSync(`/proc/${pid}/task`)) ?? []
  return threads.flatMap((thread) => {
    const list = attempt(() => readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8')) ?? ''
    return list.split(' ').flatMap((text) => (text.trim() === '' ? [] : Number(text)))
  })
}

/** Sums user and system time of the processes, and of their children that ended and were waited for. */
export function cpuMsOf(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
    // proc_pid_stat(5): utime, stime, cutime and cstime are fields 14 to 17. The name in field 2 may hold any character.
    const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
    return fields.slice(11, 15).reduce((sum, text) => sum + Number(text), 0)
  })
  return (ticks.reduce((sum, count) => sum + count, 0) * 1000) / TICKS_PER_SECOND
}

/** Sums the peak resident size of each process. */
export function peakRssBytesOf(pids: readonly number[]): number {
  const peaks = pids.map((pid) => {
    const status = attempt(() => readFileSync(`/proc/${pid}/status`, 'utf8')) ?? ''
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
  })
  return peaks.reduce((sum, bytes) => sum + bytes, 0)
}

/** Resets VmHWM, the peak resident size (proc_pid_clear_refs(5), value 5). */
export function resetPeakRss(pids: readonly number[]): void {
  for (const pid of pids) attempt(() => writeFileSync(`/proc/${pid}/clear_refs`, '5'))
}

export function killAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) attempt(() => process.kill(pid, signal))
}

/** Kills everything that this process has started, including children of children. */
export function killDescendants(): void {
  killAll(treeOf(process.pid).slice(1), 'SIGKILL')
}

/** Returns undefined if the process has just ended. */
function attempt<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch {
    return undefined
  }
}
