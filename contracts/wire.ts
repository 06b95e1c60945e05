// What both ends must agree on below the procedures: transformer, paths, header names.
import superjson, { type SuperJSONResult } from 'superjson'
import type { ArchiveId } from './archive.ts'

/** All values are JSON-native: what is sent needs superjson's envelope, and nothing told beside it. */
export const transformer = {
  serialize: (value: unknown) => ({ json: value }),
  /** In place: it was parsed a moment ago, and nobody else has it. */
  deserialize: (message: SuperJSONResult): unknown => superjson.deserialize(message, { inPlace: true }),
}

/** Under this key stands what is wrong with an input. A symbol: no JSON has it, and tRPC keeps it where it copies objects. */
export const UNFIT = Symbol('unfit')

/**
 * Takes a client's input out of its envelope, or says under `UNFIT` why not. Nothing is revived: superjson would make
 * dates, big numbers and shared references of whatever `meta` asks for. It may only tell what is undefined, as superjson
 * does for every optional field that is spelled out and left empty.
 */
export function openEnvelope(envelope: unknown): unknown {
  if (envelope === undefined) return undefined
  if (!isRecord(envelope)) return { [UNFIT]: 'the input must be {"json": ...}' }
  const { json, meta } = envelope
  if (meta === undefined) return json
  const isKnown = isRecord(meta) && Object.keys(meta).every((key) => key === 'values' || key === 'v')
  if (!isKnown) return NOT_NATIVE
  const { values } = meta
  if (values === undefined) return json
  if (isUndefined(values)) return json === null ? undefined : NOT_NATIVE
  if (!isRecord(values)) return NOT_NATIVE
  let annotations = 0
  for (const path in values) {
    if (!isUndefined(values[path]) || ++annotations > MAX_ANNOTATIONS) return NOT_NATIVE
    clear(json, path)
  }
  return json
}

const NOT_NATIVE = { [UNFIT]: 'meta: values are those of JSON, and need none' }

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** An annotation of superjson. */
const isUndefined = (annotation: unknown) =>
  Array.isArray(annotation) && annotation.length === 1 && annotation[0] === 'undefined'

/** More than fields can be left empty, with a name for each entry of a large manifest. */
const MAX_ANNOTATIONS = 50_000
/** Of "entries.19999.name" and all shorter ones; a longer path leads to no field of ours. */
const MAX_PATH_LENGTH = 32

/** For undefined, null stands in the JSON. */
function clear(json: unknown, path: string): void {
  if (path.length > MAX_PATH_LENGTH) return
  const keys = path.split('.')
  const last = keys.pop()!
  let parent = json
  for (const key of keys) parent = isOwn(parent, key) ? parent[key] : undefined
  if (isOwn(parent, last) && parent[last] === null) parent[last] = undefined
}

const isOwn = (value: unknown, key: string): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key)

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
