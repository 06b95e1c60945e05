// The manifests that were asked for last, parsed: a page of a list, or one more watcher, does not cost the parsing of all of it.
import { type EntryInput, nameOf, urlOf } from '#contracts/archive.ts'
import type { Journal } from '../ports/journal.ts'

/** Of all that are kept. A larger one is kept alone, until the next. */
export const MANIFESTS_BYTES = 32 * 1024 * 1024
/** One that nobody has asked for meanwhile is let go. */
const KEEP_MS = 30_000
/** An entry costs this beside its texts. */
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

/** The same journal, but for its manifests: whoever asks gets the same array, to be read only. */
export function withRecentManifests<J extends Pick<Journal, 'manifest' | 'accept' | 'bury'>>(
  journal: J,
  { maxBytes = MANIFESTS_BYTES, keepMs = KEEP_MS }: RecentManifestsOptions = {},
): J {
  /** Asked for longest ago first. */
  const kept = new Map<string, Kept>()
  let bytes = 0
  let timer: NodeJS.Timeout | null = null

  function drop(archiveId: string): void {
    const dropped = kept.get(archiveId)
    if (dropped === undefined) return
    kept.delete(archiveId)
    bytes -= dropped.bytes
  }

  /** All of them, once nobody has asked for any: those in use are back at the price of being parsed again. */
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
    // Two that ask at once wait for the same.
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
    // The first to ask is its build, in a moment.
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
  // Not spread: a property of the journal may change.
  return Object.assign(Object.create(journal), { manifest, accept, bury }) as J
}

function sizeOf(manifest: readonly EntryInput[]): number {
  let bytes = 0
  for (const entry of manifest) bytes += ENTRY_BYTES + urlOf(entry).length + (nameOf(entry)?.length ?? 0)
  return bytes
}
