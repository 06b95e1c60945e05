// Keeps recently used manifests parsed, so that a page of entries or one more watcher does not parse a whole list again.
import { type EntryInput, nameOf, urlOf } from '#contracts/archive.ts'
import type { Journal } from '../ports/journal.ts'

/** Limit for all kept manifests together. A manifest above the limit is kept alone, until the next one is used. */
export const MANIFESTS_BYTES = 32 * 1024 * 1024
/** All manifests are dropped if nobody has used any of them for this long. */
const KEEP_MS = 30_000
/** Estimated memory of an entry besides its strings. */
const ENTRY_BYTES = 64

interface Kept {
  readonly manifest: Promise<EntryInput[]>
  bytes: number
}

export interface RecentManifestsOptions {
  /** @default MANIFESTS_BYTES */
  maxBytes?: number
  /** @default 30_000 */
  keepMs?: number
}

/** The same journal, except that all callers of `manifest` share one array. They must not change it. */
export function withRecentManifests<J extends Pick<Journal, 'manifest' | 'accept' | 'bury'>>(
  journal: J,
  { maxBytes = MANIFESTS_BYTES, keepMs = KEEP_MS }: RecentManifestsOptions = {},
): J {
  /** In order of use: the one that was used longest ago comes first. */
  const kept = new Map<string, Kept>()
  let bytes = 0
  let timer: NodeJS.Timeout | null = null

  function drop(archiveId: string): void {
    const dropped = kept.get(archiveId)
    if (dropped === undefined) return
    kept.delete(archiveId)
    bytes -= dropped.bytes
  }

  /** Drops all of them after a while without use. If one is needed again, it is parsed again. */
  function dropLater(): void {
    if (timer !== null) {
      timer.refresh()
      return
    }
    timer = setTimeout(() => {
      timer = null
      kept.clear()
      bytes = 0
    }, keepMs).unref()
  }

  async function count(archiveId: string, entry: Kept): Promise<void> {
    const size = sizeOf(await entry.manifest)
    if (kept.get(archiveId) !== entry) return
    entry.bytes = size
    bytes += size
    for (const oldest of kept.keys()) {
      if (bytes <= maxBytes || oldest === archiveId) break
      drop(oldest)
    }
  }

  async function manifest(archiveId: string): Promise<EntryInput[]> {
    dropLater()
    const found = kept.get(archiveId)
    if (found !== undefined) {
      kept.delete(archiveId)
      kept.set(archiveId, found)
      return found.manifest
    }
    // The promise is kept, so two callers at the same time share one parse.
    return keep(archiveId, journal.manifest(archiveId))
  }

  function keep(archiveId: string, manifest: Promise<EntryInput[]>): Promise<EntryInput[]> {
    const entry = { manifest, bytes: 0 }
    kept.set(archiveId, entry)
    count(archiveId, entry).catch(() => drop(archiveId))
    return manifest
  }

  const accept: Journal['accept'] = async (request, entries, ...rest) => {
    const { archiveId } = request
    drop(archiveId)
    const accepted = await journal.accept(request, entries, ...rest)
    // The build asks for it in a moment, so it need not be parsed.
    if (accepted.created && !kept.has(archiveId)) {
      dropLater()
      keep(archiveId, Promise.resolve([...entries]))
    }
    return accepted
  }
  const bury: Journal['bury'] = (archiveId, ...rest) => {
    drop(archiveId)
    return journal.bury(archiveId, ...rest)
  }
  // Inherits from the journal instead of copying it, because properties of the journal change.
  return Object.assign(Object.create(journal), { manifest, accept, bury }) as J
}

function sizeOf(manifest: readonly EntryInput[]): number {
  let bytes = 0
  for (const entry of manifest) bytes += ENTRY_BYTES + urlOf(entry).length + (nameOf(entry)?.length ?? 0)
  return bytes
}
