// What both ends must agree on below the procedures: transformer, paths, header names.
import superjson, { type SuperJSONResult } from 'superjson'
import type { ArchiveId } from './archive.ts'

export const transformer = {
  serialize: superjson.serialize,
  /** In place: it was parsed a moment ago, and nobody else has it. */
  deserialize: (message: SuperJSONResult): unknown => superjson.deserialize(message, { inPlace: true }),
}

export const paths = { trpc: '/trpc', archives: '/archives', health: '/healthz' } as const

/** A client says which protocol it speaks: as this HTTP header, or under this name in tRPC's connection params. */
export const PROTOCOL_HEADER = 'sheaf-protocol'

/** Tells an archive from another one of the same id; '' of those that have none. */
interface Archive {
  readonly archiveId: ArchiveId
  readonly nonce: string
}

/** What an archive's address and its ETag begin with. */
export const archiveAddress = ({ archiveId, nonce }: Archive) => (nonce === '' ? archiveId : `${archiveId}.${nonce}`)

/** Null for what is no address. */
export function parseArchiveAddress(text: string): Archive | null {
  const [, archiveId, nonce = ''] = /^([A-Za-z0-9_-]{22})(?:\.([A-Za-z0-9_-]{11}))?$/.exec(text) ?? []
  return archiveId === undefined ? null : { archiveId, nonce }
}

/** Root-relative; a client puts the base it reached the server by in front (a proxy may add a path prefix). */
export function archiveHref(archive: Archive, fileName: string): string {
  return `${paths.archives}/${archiveAddress(archive)}/${encodeURIComponent(fileName)}`
}
