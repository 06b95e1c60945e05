// Remembers over a refresh what the page needs: the draft, and which archive is being made. Talks to no server.
//
// It is kept in sessionStorage on purpose. That belongs to one tab, so two tabs make two archives and do not overwrite
// each other's key. It ends with its tab, just as the server ends a build that nobody watches.
import type { ArchiveFormat, ArchiveKey, Compression } from '#contracts/archive.ts'

export interface Draft {
  readonly list: string
  /** Hosts without a scheme in the list are taken as https. */
  readonly assumeHttps: boolean
  readonly name: string
  readonly format: ArchiveFormat
  /** Applies to a zip. It is kept while another format is chosen. */
  readonly compression: Compression
  readonly report: boolean
}

export interface RememberedArchive {
  readonly archiveKey: ArchiveKey
  /** True if the server has the manifest. To come back, the page then only has to watch. */
  readonly accepted: boolean
  /** True if the browser has begun the download once. It does not begin again unless a person asks. */
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

export const emptyDraft: Draft = {
  list: '',
  assumeHttps: false,
  name: '',
  format: 'zip',
  compression: 'store',
  report: false,
}

const formats: readonly ArchiveFormat[] = ['zip', 'tar', 'tar.gz']
const compressions: readonly Compression[] = ['store', 'auto', 'deflate']

/** `storage` is null if the browser has none; a refresh then forgets. Servers at other paths have other sessions. */
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

/** Settings against tracking may forbid even to read `sessionStorage`. */
export function tabStorage(): Storage | null {
  try {
    return globalThis.sessionStorage
  } catch {
    return null
  }
}

/** Another version of the page may have stored it, so each field is checked. */
function sessionFrom(stored: unknown): Session {
  const { draft, archive } = fieldsOf(stored)
  const { list, assumeHttps, name, format, compression, report } = fieldsOf(draft)
  const { archiveKey, accepted, downloadStarted } = fieldsOf(archive)
  return {
    draft: {
      list: typeof list === 'string' ? list : emptyDraft.list,
      assumeHttps: assumeHttps === true,
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
