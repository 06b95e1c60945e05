// How many files and sockets the process may have open, and how they are shared out, so that none takes what another waits for.
import { readFile } from 'node:fs/promises'

export interface DescriptorNeeds {
  /** Connections of clients. */
  readonly sockets: number
  /** Connections to origins. */
  readonly fetches: number
  /** Parts open for writing. */
  readonly parts: number
  /** Archives under construction: a log each. */
  readonly archives: number
}

/** Of the process itself: libuv, the journal, the listening socket, pipes. */
const OWN_DESCRIPTORS = 32

/**
 * What is needed, cut to its share of what there is. A fetch holds its connection while it waits for a part, and a client
 * holds its own while it waits for both: were they bounded together only, they would wait for each other for ever.
 * What is left over is for reading the spool, which comes and goes.
 */
export function shareDescriptors(limit: number, needs: DescriptorNeeds): DescriptorNeeds {
  const free = Math.max(0, limit - OWN_DESCRIPTORS)
  const share = (needed: number, sixteenths: number) =>
    Math.max(1, Math.min(needed, Math.floor((free * sixteenths) / 16)))
  return {
    sockets: share(needs.sockets, 8),
    fetches: share(needs.fetches, 3),
    parts: share(needs.parts, 2),
    archives: share(needs.archives, 1),
  }
}

/** Infinity if the system does not say. */
export async function descriptorLimit(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '')
  return readDescriptorLimit(limits)
}

export function readDescriptorLimit(limits: string): number {
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1]
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
}
