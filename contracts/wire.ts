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

/** Root-relative; a client puts the base it reached the server by in front (a proxy may add a path prefix). */
export function archiveHref(archiveId: ArchiveId, fileName: string): string {
  return `${paths.archives}/${archiveId}/${encodeURIComponent(fileName)}`
}
