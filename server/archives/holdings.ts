// Counts the bytes that each client holds in journal and spool, and writes in a day, and compares them with limits. No I/O.
import type { ArchiveId } from '#contracts/archive.ts'

export interface HoldingsLimits {
  /** Bytes that the archives of one client may take at the same time, in spool and journal. */
  readonly maxHeldBytesPerClient: number
  /** Bytes that one client may write in a day (UTC). Bytes that were removed again count too. */
  readonly maxBytesPerClientADay: number
  /** Bytes that the manifests and facts of all archives may take together. */
  readonly maxJournalBytes: number
}

/** The bytes that one archive takes. */
export interface Taken {
  readonly journalBytes: number
  readonly spoolBytes: number
}

export interface UsageRow {
  readonly client: string
  /** Days since 1970, UTC. */
  readonly day: number
  readonly bytes: number
}

/** The limit that is reached: the client's share of the disk, its bytes of this day, or the journal. */
export type Excess = 'held' | 'day' | 'journal'

export interface Holdings {
  /** Journal bytes of all archives. */
  readonly journalBytes: number
  /** The limit that the client would pass with `journalBytes` more in the journal; null if it would pass none. */
  excessOf(client: string, journalBytes: number): Excess | null
  /** Whether the client is past one of its own limits already. */
  isOver(client: string): boolean
  /** Counts an archive of an earlier process. Its bytes do not count for this day. */
  restore(archiveId: ArchiveId, client: string, taken: Taken): void
  /** Sets what the archive takes now. Its growth counts for the day. */
  set(archiveId: ArchiveId, client: string, taken: Partial<Taken>): void
  /** Forgets the archive. What it wrote today still counts for the day. */
  remove(archiveId: ArchiveId): void
  /** Returns by how much the counts of each day grew since the last call. The caller writes that to the journal. */
  takeUsage(): UsageRow[]
}

/**
 * What an archive takes besides its text: rows, index entries, a folder and a file. Without this a client could leave millions
 * of tiny archives that hardly count.
 */
export const ARCHIVE_OVERHEAD_BYTES = 8 * 1024
const DAY_MS = 86_400_000

export const dayOf = (wallMs: number): number => Math.floor(wallMs / DAY_MS)

interface Account {
  heldBytes: number
  journalBytes: number
}

const NOTHING: Taken = { journalBytes: 0, spoolBytes: 0 }

export interface HoldingsOptions {
  limits: HoldingsLimits
  wallMs(): number
  /** The counts of earlier processes. */
  usage?: readonly UsageRow[]
}

export function createHoldings({ limits, wallMs, usage = [] }: HoldingsOptions): Holdings {
  const archives = new Map<ArchiveId, Taken & { readonly client: string }>()
  const accounts = new Map<string, Account>()
  let day = dayOf(wallMs())
  /** Bytes by client on `day`. */
  const used = new Map<string, number>()
  let grown: UsageRow[] = []
  let journalBytes = 0
  for (const row of usage) if (row.day === day) used.set(row.client, row.bytes)

  function usedToday(client: string): number {
    const today = dayOf(wallMs())
    if (today !== day) used.clear()
    day = today
    return used.get(client) ?? 0
  }

  function accountOf(client: string): Account {
    return accounts.get(client) ?? { heldBytes: 0, journalBytes: 0 }
  }

  /** @returns the bytes it grew by */
  function put(archiveId: ArchiveId, client: string, after: Taken | null): number {
    const before = archives.get(archiveId) ?? null
    const own = accountOf(client)
    const journal = journalSizeOf(after) - journalSizeOf(before)
    const bytes = journal + (after ?? NOTHING).spoolBytes - (before ?? NOTHING).spoolBytes
    own.heldBytes += bytes
    own.journalBytes += journal
    journalBytes += journal
    if (after === null) archives.delete(archiveId)
    else archives.set(archiveId, { ...after, client })
    if (own.heldBytes === 0) accounts.delete(client)
    else accounts.set(client, own)
    return bytes
  }

  return {
    get journalBytes() {
      return journalBytes
    },
    excessOf(client, more) {
      const added = more + ARCHIVE_OVERHEAD_BYTES
      const own = accountOf(client)
      if (usedToday(client) + added > limits.maxBytesPerClientADay) return 'day'
      if (own.heldBytes + added > limits.maxHeldBytesPerClient) return 'held'
      // As with places, one client alone may take two thirds, so that those who come later find room.
      const freeBytes = limits.maxJournalBytes - journalBytes - added
      return own.journalBytes + added > 2 * freeBytes ? 'journal' : null
    },
    isOver(client) {
      if (usedToday(client) > limits.maxBytesPerClientADay) return true
      return accountOf(client).heldBytes > limits.maxHeldBytesPerClient
    },
    restore(archiveId, client, taken) {
      put(archiveId, client, taken)
    },
    set(archiveId, client, taken) {
      const bytes = put(archiveId, client, { ...(archives.get(archiveId) ?? NOTHING), ...taken })
      if (bytes <= 0) return
      used.set(client, usedToday(client) + bytes)
      grown.push({ client, day, bytes })
    },
    remove(archiveId) {
      const known = archives.get(archiveId)
      if (known !== undefined) put(archiveId, known.client, null)
    },
    takeUsage() {
      const rows = new Map<string, UsageRow>()
      for (const row of grown) {
        const key = `${row.day} ${row.client}`
        rows.set(key, { ...row, bytes: row.bytes + (rows.get(key)?.bytes ?? 0) })
      }
      grown = []
      return [...rows.values()]
    },
  }
}

function journalSizeOf(taken: Taken | null): number {
  return taken === null ? 0 : taken.journalBytes + ARCHIVE_OVERHEAD_BYTES
}
