// Splits the file descriptors of the process between its uses, so that no use takes what another one waits for.
import { readFile } from 'node:fs/promises'

export interface DescriptorNeeds {
  /** Connections of clients. */
  readonly sockets: number
  /** Connections to origins. */
  readonly fetches: number
  /** Parts open for writing. */
  readonly parts: number
  /** Archives under construction. Each has one log open. */
  readonly archives: number
}

/** Descriptors of the process itself: libuv, the journal, the listening socket, pipes. */
const OWN_DESCRIPTORS = 32

/**
 * Cuts each need to its share of the limit. A fetch holds its connection while it waits for a part, and a client holds
 * its connection while it waits for both. With one common limit, they could wait for each other forever. The rest is
 * left for reading the spool, which needs descriptors only for moments.
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

/** The soft limit of the process; infinity if the system does not report one. */
export async function descriptorLimit(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '')
  return readDescriptorLimit(limits)
}

export function readDescriptorLimit(limits: string): number {
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1]
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
}
