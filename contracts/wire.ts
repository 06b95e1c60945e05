// What server and clients must agree on below the procedures: transformer, paths, header names.
import superjson, { type SuperJSONResult } from 'superjson'
import type { ArchiveId } from './archive.ts'

/** All values are JSON-native, so superjson's envelope is sent without its `meta`. */
export const transformer = {
  serialize: (value: unknown) => ({ json: value }),
  /** In place, because the message was parsed a moment ago and nobody else has it. */
  deserialize: (message: SuperJSONResult): unknown => superjson.deserialize(message, { inPlace: true }),
}

/** The key of what is wrong with an input. JSON cannot have a symbol, and tRPC keeps it when it copies objects. */
export const UNFIT = Symbol('unfit')

/**
 * Takes a client's input out of its envelope, or says under `UNFIT` why that is not possible. Nothing is revived:
 * superjson would make any dates, big numbers and shared references that `meta` asks for. `meta` may only mark what is
 * undefined, because superjson does that for each optional field that is set to undefined.
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

const NOT_NATIVE = { [UNFIT]: 'meta: values must be plain JSON, which needs no meta' }

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Superjson marks an undefined value with this annotation. */
const isUndefined = (annotation: unknown) =>
  Array.isArray(annotation) && annotation.length === 1 && annotation[0] === 'undefined'

/** A large manifest may leave the name of each entry undefined, and has fewer undefined fields than this. */
const MAX_ANNOTATIONS = 50_000
/** "entries.19999.name" and all other fields fit in. A longer path leads to none of our fields. */
const MAX_PATH_LENGTH = 32

/** Makes the value at `path` undefined, if the JSON has null there: superjson sends null for undefined. */
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

/** A client names its protocol in this HTTP header, or under this name in tRPC's connection params. */
export const PROTOCOL_HEADER = 'sheaf-protocol'

/** The nonce distinguishes archives with the same id. It is '' for an archive without one. */
interface Archive {
  readonly archiveId: ArchiveId
  readonly nonce: string
}

/** The address of an archive; its ETag begins with it. */
export const archiveAddress = ({ archiveId, nonce }: Archive) => (nonce === '' ? archiveId : `${archiveId}.${nonce}`)

/** Returns null if the text is not an address. */
export function parseArchiveAddress(text: string): Archive | null {
  const [, archiveId, nonce = ''] = /^([A-Za-z0-9_-]{22})(?:\.([A-Za-z0-9_-]{11}))?$/.exec(text) ?? []
  return archiveId === undefined ? null : { archiveId, nonce }
}

/** Relative to the root. A client puts its base URL in front, as a proxy may add a path prefix. */
export function archiveHref(archive: Archive, fileName: string): string {
  return `${paths.archives}/${archiveAddress(archive)}/${encodeURIComponent(fileName)}`
}
