// What the benchmark reads of processes and of the machine, with real ones.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { until } from '../support/wait.ts'
import { fileSystemOf } from './machine.ts'
import { cpuMsOfTimes, measureCommands } from './measure.ts'
import { cpuMsOf, peakRssBytesOf, treeOf } from './processes.ts'

describe('a process tree', () => {
  it('is read with its children, and their time counts on when they have ended', async () => {
    // The shell's child uses up some time and ends; a second one stays.
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

  it('has the time that a process knows of itself', async () => {
    const tell = 'const { user, system } = process.cpuUsage(); console.log((user + system) / 1000)'
    const child = spawn(process.execPath, ['-e', `${tell}; setInterval(() => {}, 60_000)`], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const exited = once(child, 'exit')
    try {
      const [line] = await once(child.stdout, 'data')
      const tickMs = 10
      // User and system time are each cut to the tick; what comes after the line only adds to it.
      expect(cpuMsOf([child.pid!])).toBeGreaterThan(Number(line) - 2 * tickMs)
    } finally {
      child.kill('SIGKILL')
      await exited
    }
  })

  it('of a process that is gone has no time and no memory', () => {
    expect(treeOf(2 ** 30)).toEqual([2 ** 30])
    expect([cpuMsOf([2 ** 30]), peakRssBytesOf([2 ** 30])]).toEqual([0, 0])
  })
})

describe('commands', () => {
  const command = (script: string) => ({ directory: '/', script, parameters: ['a b'], env: { WORD: 'c d' } })

  it('are given their parameters and settings, and are timed one by one', async () => {
    const script = '[ "$1/$WORD" = "a b/c d" ]'
    const sample = await measureCommands([command(script), command(script)])
    expect(sample.doneMs).toHaveLength(2)
    expect(sample.wallMs).toBe(Math.max(...sample.doneMs))
  })

  it('that fail are told with their words', async () => {
    await expect(measureCommands([command('echo oh no >&2; false')])).rejects.toThrow('ended with 1: oh no')
  })

  it('have used what the shell says of itself and its children', () => {
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
