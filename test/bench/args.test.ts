// The command line of the benchmark.
import { describe, expect, it } from 'vitest'
import { helpText, readArguments } from './args.ts'
import { describeWorkload, scaled, workloadNames, workloads } from './workloads.ts'

const read = (...argv: string[]) => readArguments(argv, ['sheaf', 'naive', 'curl+zip'])

describe('the arguments', () => {
  it('ask for all workloads, five rounds and all peers where nothing is said', () => {
    const all = { workloads: workloadNames, start: false, peers: null, env: {} }
    expect(read()).toMatchObject({ ...all, rounds: 5, scale: 1, warmUps: 10 })
  })

  it('name workloads in any order, which run in their own', () => {
    expect(read('W4', 'W1')).toMatchObject({ workloads: ['W1', 'W4'], start: false })
  })

  it('ask for the start alone, or besides workloads', () => {
    expect(read('start')).toMatchObject({ workloads: [], start: true })
    expect(read('start', 'W2')).toMatchObject({ workloads: ['W2'], start: true })
  })

  it('take settings of the server, with "=" in their values', () => {
    expect(read('--env', 'SHEAF_MAX_FETCHES=8', '--env', 'NODE_OPTIONS=--a=b')?.env).toEqual({
      SHEAF_MAX_FETCHES: '8',
      NODE_OPTIONS: '--a=b',
    })
  })

  it('choose peers', () => {
    expect(read('--peers', 'naive,curl+zip')?.peers).toEqual(['naive', 'curl+zip'])
    expect(read('--peers', '')?.peers).toEqual([])
  })

  it.each([
    [['W7'], 'no workload "W7"'],
    [['--peers', 'naive,other'], 'no peer "other"'],
    [['--rounds', '0'], '--rounds takes'],
    [['--rounds', '1.5'], '--rounds takes'],
    [['--scale', 'Infinity'], '--scale takes'],
    [['--warm-ups', '0'], '--warm-ups takes'],
    [['--env', '=x'], '--env takes'],
    [['--nonsense'], '--nonsense'],
  ])('%j are refused', (argv, message) => {
    expect(() => read(...argv)).toThrow(message)
  })

  it('ask for help, which names every workload, peer and option', () => {
    expect(read('W1', '--help')).toBeNull()
    const text = helpText([{ name: 'naive', about: 'as one would write it first' }])
    for (const word of [...workloadNames, 'naive', '--rounds', '--dir', '--env', '--json', '--warm-ups', 'start']) {
      expect(text).toContain(word)
    }
  })
})

describe('a workload', () => {
  it('is told in one line', () => {
    expect(describeWorkload(workloads.W3)).toBe('2 x 1 GiB')
    expect(describeWorkload(workloads.W4)).toBe('300 x 100 KiB, the origin answers after 50 ms')
    expect(describeWorkload(workloads.W5)).toBe('50 archives of 20 x 1 MiB at once')
  })

  it('is made smaller in what it has much of', () => {
    expect(scaled(workloads.W1, 0.1).entries).toBe(100)
    expect(scaled(workloads.W1, 0.0001).entries).toBe(2)
    expect(scaled(workloads.W3, 0.5)).toMatchObject({ entries: 2, entryBytes: 2 ** 29 })
    expect(scaled(workloads.W5, 0.1)).toMatchObject({ entries: 20, archives: 5 })
  })
})
