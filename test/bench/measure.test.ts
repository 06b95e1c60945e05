// Tests with real processes what the benchmark measures of processes and of the machine.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { until } from '../support/wait.ts'
import { fileSystemOf } from './machine.ts'
import { cpuMsOfTimes, measureCommands } from './measure.ts'
import { cpuMsOf, peakRssBytesOf, treeOf } from './processes.ts'

describe('a process tree', () => {
  it('includes its children, and their CPU time still counts when they have ended', async () => {
    // One child of the shell uses some CPU time and ends. Another one stays.
    const busy = 'i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done'
    const shell = spawn('bash', ['-c', `(${busy}); sleep 60 & echo there; wait`], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const exited = once(shell, 'exit')
    try {
      await once(shell.stdout, 'data')
      const tree = await until(() => treeOf(shell.pid!).length === 2 && treeOf(shell.pid!), {
        what: 'the second child',
      })
      expect(cpuMsOf([tree[0]!])).toBeGreaterThan(0)
      expect(cpuMsOf([tree[1]!])).toBeLessThan(cpuMsOf(tree))
      expect(peakRssBytesOf(tree)).toBeGreaterThan(peakRssBytesOf([tree[1]!]))
    } finally {
      for (const pid of treeOf(shell.pid!).reverse()) process.kill(pid, 'SIGKILL')
      await exited
    }
  })

  it('has the CPU time that the process itself reports', async () => {
    const tell = 'const { user, system } = process.cpuUsage(); console.log((user + system) / 1000)'
    const child = spawn(process.execPath, ['-e', `${tell}; setInterval(() => {}, 60_000)`], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const exited = once(child, 'exit')
    try {
      const [line] = await once(child.stdout, 'data')
      const tickMs = 10
      // User and system time are each rounded down to a tick. What the process does after it printed only adds to them.
      expect(cpuMsOf([child.pid!])).toBeGreaterThan(Number(line) - 2 * tickMs)
    } finally {
      child.kill('SIGKILL')
      await exited
    }
  })

  it('has no time and no memory if its process is gone', () => {
    expect(treeOf(2 ** 30)).toEqual([2 ** 30])
    expect([cpuMsOf([2 ** 30]), peakRssBytesOf([2 ** 30])]).toEqual([0, 0])
  })
})

describe('commands', () => {
  const command = (script: string) => ({ directory: '/', script, parameters: ['a b'], env: { WORD: 'c d' } })

  it('get their parameters and environment, and are timed one by one', async () => {
    const script = '[ "$1/$WORD" = "a b/c d" ]'
    const sample = await measureCommands([command(script), command(script)])
    expect(sample.doneMs).toHaveLength(2)
    expect(sample.wallMs).toBe(Math.max(...sample.doneMs))
  })

  it('are reported with what they printed if they fail', async () => {
    await expect(measureCommands([command('echo oh no >&2; false')])).rejects.toThrow('ended with 1: oh no')
  })

  it('used the CPU time that the shell reports of itself and of its children', () => {
    expect(cpuMsOfTimes('0m0.004s 0m0.002s\n1m1.500s 0m0.250s\n')).toBeCloseTo(61_756)
  })
})

describe('the file system of a path', () => {
  const mounts = ['/dev/vda / ext4 rw 0 0', 'tmpfs /dev/shm tmpfs rw 0 0', 'x /dev/sh xfs rw 0 0', ''].join('\n')

  it.each([
    ['/dev/shm/a', 'tmpfs'],
    ['/dev/shm', 'tmpfs'],
    ['/dev/shmall', 'ext4'],
    ['/home', 'ext4'],
  ])('%s is %s', (path, type) => {
    expect(fileSystemOf(mounts, path)).toBe(type)
  })
})
