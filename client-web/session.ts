// What the page remembers over a refresh: the draft, and which archive is being made. Talks to no server.
//
// Kept in sessionStorage on purpose. It belongs to one tab and outlives a refresh, so two tabs make two archives
// without overwriting each other's key; and it goes with its tab, just as the server winds down a build nobody watches.
import type { ArchiveFormat, ArchiveKey, Compression } from '#contracts/archive.ts'

export interface Draft {
  readonly list: string
  readonly name: string
  readonly format: ArchiveFormat
  /** Of a zip; kept while another format is chosen. */
  readonly compression: Compression
  readonly report: boolean
}

export interface RememberedArchive {
  readonly archiveKey: ArchiveKey
  /** The server has the manifest, so watching is enough to come back. */
  readonly accepted: boolean
  /** It was handed to the browser once, and is not again without being asked. */
  readonly downloadStarted: boolean
}

export interface Session {
  readonly draft: Draft
  readonly archive: RememberedArchive | null
}

export interface SessionStore {
  read(): Session
  write(session: Session): void
}

export const emptyDraft: Draft = { list: '', name: '', format: 'zip', compression: 'store', report: false }

const formats: readonly ArchiveFormat[] = ['zip', 'tar', 'tar.gz']
const compressions: readonly Compression[] = ['store', 'auto', 'deflate']

/** `storage` is null if the browser keeps none; then a refresh forgets. Servers at other paths have other sessions. */
export function createSessionStore(storage: Pick<Storage, 'getItem' | 'setItem'> | null, base: string): SessionStore {
  const place = `sheaf ${base}`
  return {
    read() {
      try {
        return sessionFrom(JSON.parse(storage?.getItem(place) ?? 'null'))
      } catch {
        return sessionFrom(null)
      }
    },
    write(session) {
      // A list of megabytes may not fit; the key alone is enough to come back to the archive.
      const withoutList = { ...session, draft: { ...session.draft, list: '' } }
      for (const candidate of [session, withoutList]) {
        try {
          storage?.setItem(place, JSON.stringify(candidate))
          return
        } catch {}
      }
    },
  }
}

/** Even to look at it may be forbidden, by settings against tracking. */
export function tabStorage(): Storage | null {
  try {
    return globalThis.sessionStorage
  } catch {
    return null
  }
}

/** Stored by this or another version of the page, so nothing of it is taken on trust. */
function sessionFrom(stored: unknown): Session {
  const { draft, archive } = fieldsOf(stored)
  const { list, name, format, compression, report } = fieldsOf(draft)
  const { archiveKey, accepted, downloadStarted } = fieldsOf(archive)
  return {
    draft: {
      list: typeof list === 'string' ? list : emptyDraft.list,
      name: typeof name === 'string' ? name : emptyDraft.name,
      format: formats.find((known) => known === format) ?? emptyDraft.format,
      compression: compressions.find((known) => known === compression) ?? emptyDraft.compression,
      report: report === true,
    },
    archive:
      typeof archiveKey === 'string'
        ? { archiveKey, accepted: accepted === true, downloadStarted: downloadStarted === true }
        : null,
  }
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
