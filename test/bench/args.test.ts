// The command line of the benchmark.
import { describe, expect, it } from 'vitest'
import { helpText, readArguments } from './args.ts'
import { describeWorkload, scaled, workloadNames, workloads } from './workloads.ts'

const read = (...argv: string[]) => readArguments(argv, ['sheaf', 'naive', 'curl+zip'])

describe('the arguments', () => {
  it('default to all workloads, five rounds and all peers', () => {
    const all = { workloads: workloadNames, start: false, peers: null, env: {} }
    expect(read()).toMatchObject({ ...all, rounds: 5, scale: 1, warmUps: 10 })
  })

  it('may name workloads in any order; they run in the order of the table', () => {
    expect(read('W4', 'W1')).toMatchObject({ workloads: ['W1', 'W4'], start: false })
  })

  it('may ask for the start alone, or for workloads too', () => {
    expect(read('start')).toMatchObject({ workloads: [], start: true })
    expect(read('start', 'W2')).toMatchObject({ workloads: ['W2'], start: true })
  })

  it('take settings of the server, whose values may contain "="', () => {
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
  it('is described in one line', () => {
    expect(describeWorkload(workloads.W3)).toBe('2 x 1 GiB')
    expect(describeWorkload(workloads.W4)).toBe('300 x 100 KiB, the origin answers after 50 ms')
    expect(describeWorkload(workloads.W5)).toBe('50 archives of 20 x 1 MiB at once')
  })

  it('is scaled in the dimension that it is large in', () => {
    expect(scaled(workloads.W1, 0.1).entries).toBe(100)
    expect(scaled(workloads.W1, 0.0001).entries).toBe(2)
    expect(scaled(workloads.W3, 0.5)).toMatchObject({ entries: 2, entryBytes: 2 ** 29 })
    expect(scaled(workloads.W5, 0.1)).toMatchObject({ entries: 20, archives: 5 })
  })
})
