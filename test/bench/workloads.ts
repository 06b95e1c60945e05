// The workloads and their targets, as data.

export const workloadNames = ['W1', 'W2', 'W3', 'W4', 'W5', 'W6'] as const
export type WorkloadName = (typeof workloadNames)[number]

/** The plain origin answers at once, the slow one 50 ms after each request, and the third one over TLS. */
export type OriginKind = 'plain' | 'slow' | 'tls'

/** The figure that a target is about. It is a number in the table, and less is better. */
export type Target =
  | { readonly of: 'wall'; readonly against: string; readonly most: number }
  | { readonly of: 'cpuSecondsPerGb'; readonly most: number }
  | { readonly of: 'cpuMicrosPerEntry'; readonly most: number }
  | { readonly of: 'firstByteMs'; readonly most: number }
  | { readonly of: 'slowestFirstByteMs'; readonly most: number }
  | { readonly of: 'peakRssMb'; readonly most: number }
  | { readonly of: 'spread'; readonly most: number }

export interface Workload {
  readonly name: WorkloadName
  readonly entries: number
  readonly entryBytes: number
  /** How many archives are asked for at once. They have the same entries. */
  readonly archives: number
  readonly origin: OriginKind
  /** The dimension that a smaller run reduces. */
  readonly scales: 'entries' | 'entryBytes' | 'archives'
  readonly targets: readonly Target[]
}

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

const base = { archives: 1, origin: 'plain', scales: 'entries' } as const

export const workloads: Readonly<Record<WorkloadName, Workload>> = {
  W1: {
    ...base,
    name: 'W1',
    entries: 1000,
    entryBytes: MIB,
    targets: [
      { of: 'wall', against: 'pass-through', most: 0.75 },
      { of: 'cpuSecondsPerGb', most: 2.0 },
    ],
  },
  W2: {
    ...base,
    name: 'W2',
    entries: 20_000,
    entryBytes: 10 * KIB,
    targets: [
      { of: 'wall', against: 'curl+zip', most: 0.6 },
      { of: 'cpuMicrosPerEntry', most: 85 },
    ],
  },
  W3: {
    ...base,
    name: 'W3',
    entries: 2,
    entryBytes: GIB,
    scales: 'entryBytes',
    targets: [{ of: 'wall', against: 'pass-through', most: 0.9 }],
  },
  W4: {
    ...base,
    name: 'W4',
    entries: 300,
    entryBytes: 100 * KIB,
    origin: 'slow',
    targets: [{ of: 'wall', against: 'curl+zip', most: 0.55 }],
  },
  W5: {
    ...base,
    name: 'W5',
    entries: 20,
    entryBytes: MIB,
    archives: 50,
    scales: 'archives',
    targets: [
      { of: 'wall', against: 'pass-through', most: 0.75 },
      { of: 'firstByteMs', most: 300 },
      { of: 'slowestFirstByteMs', most: 300 },
      { of: 'peakRssMb', most: 250 },
      { of: 'spread', most: 1.5 },
    ],
  },
  W6: {
    ...base,
    name: 'W6',
    entries: 1000,
    entryBytes: MIB,
    origin: 'tls',
    targets: [{ of: 'wall', against: 'curl+zip', most: 0.55 }],
  },
}

/** Scales a workload. Numbers never fall below 2, and sizes never below 64 KiB. */
export function scaled(workload: Workload, scale: number): Workload {
  if (scale === 1) return workload
  const least = workload.scales === 'entryBytes' ? 64 * KIB : 2
  return { ...workload, [workload.scales]: Math.max(least, Math.round(workload[workload.scales] * scale)) }
}

export function describeWorkload({ entries, entryBytes, archives, origin }: Workload): string {
  const body = `${entries} x ${describeBytes(entryBytes)}`
  const where = { plain: '', slow: ', the origin answers after 50 ms', tls: ', over TLS' }[origin]
  return `${archives === 1 ? body : `${archives} archives of ${body} at once`}${where}`
}

function describeBytes(bytes: number): string {
  for (const [unit, name] of [
    [GIB, 'GiB'],
    [MIB, 'MiB'],
    [KIB, 'KiB'],
  ] as const) {
    if (bytes >= unit) return `${Number((bytes / unit).toFixed(1))} ${name}`
  }
  return `${bytes} bytes`
}

/** Bytes of all bodies that pass through the server. */
export const payloadBytes = ({ entries, entryBytes, archives }: Workload) => entries * entryBytes * archives
export const allEntries = ({ entries, archives }: Workload) => entries * archives
