// What a client asks for: schemas and types of keys, ids, the manifest and the inputs of calls. No behaviour.
import * as z from 'zod'

/** The protocol of this build. A client that names another one is refused with PROTOCOL_MISMATCH. */
export const PROTOCOL = 1

/** The longest source URL, in UTF-16 units. The entry of a longer one fails with BAD_URL. */
export const MAX_URL_LENGTH = 8192

/**
 * A secret that the client makes: at least 128 random bits in base64url (RFC 4648 section 5). Whoever has it may
 * create, watch, list and cancel one archive. It is never part of a URL or a log.
 */
export type ArchiveKey = string
export const archiveKeySchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{22,128}$/, 'an archive key is 22 to 128 characters of base64url, at least 128 random bits')

/**
 * Public: 128 bits in base64url, derived by the server from principal and key. Hrefs and logs name the archive by it.
 */
export type ArchiveId = string
export const archiveIdSchema = z.string().regex(/^[A-Za-z0-9_-]{22}$/)

export const archiveFormatSchema = z.enum(['zip', 'tar', 'tar.gz'])
export type ArchiveFormat = z.infer<typeof archiveFormatSchema>

/**
 * How a zip holds its bodies. 'deflate' compresses each body that gets smaller by it. 'auto' does the same, but stores
 * media that is compressed already. tar does not compress its entries; tar.gz is compressed as a whole.
 */
export const compressionSchema = z.enum(['store', 'deflate', 'auto'])
export type Compression = z.infer<typeof compressionSchema>

/** The name of the report in an archive that holds one. No entry gets this name then. */
export const REPORT_NAME = 'sheaf-report.json'

/** A source URL, or a URL and the wanted name in the archive ("/" makes folders). Any string is taken as a URL. */
export type EntryInput = string | { url: string; name?: string | undefined }

export function urlOf(entry: EntryInput): string {
  return typeof entry === 'string' ? entry : entry.url
}

/** The wanted name; null if the server chooses one. */
export function nameOf(entry: EntryInput): string | null {
  return typeof entry === 'string' ? null : (entry.name ?? null)
}

/** A manifest with more entries is refused unread. A server may take fewer: its `limits.maxEntries` says how many. */
export const MAX_ENTRIES = 1_000_000
/** The longest wanted name, in UTF-16 units. The name in the archive has at most 1 024 bytes of UTF-8. */
export const MAX_NAME_LENGTH = 4096

interface Fault {
  path: (string | number)[]
  message: string
}

function entryFault(entry: unknown): Fault | null {
  if (typeof entry === 'string') return null
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    return { path: [], message: 'must be a URL, or an object with a url' }
  }
  const { url, name } = entry as Record<string, unknown>
  if (typeof url !== 'string') return { path: ['url'], message: 'must be text' }
  if (name === undefined) return null
  if (typeof name !== 'string') return { path: ['name'], message: 'must be text' }
  return name.length > MAX_NAME_LENGTH ? { path: ['name'], message: `at most ${MAX_NAME_LENGTH} characters` } : null
}

function entriesFault(entries: unknown): Fault | null {
  if (!Array.isArray(entries)) return { path: [], message: 'must be a list of entries' }
  if (entries.length === 0) return { path: [], message: 'an archive needs at least one entry' }
  if (entries.length > MAX_ENTRIES) return { path: [], message: `at most ${MAX_ENTRIES} entries` }
  for (let index = 0; index < entries.length; index++) {
    const fault = entryFault(entries[index])
    if (fault !== null) return { path: [index, ...fault.path], message: fault.message }
  }
  return null
}

const judgedBy = <T>(faultOf: (value: unknown) => Fault | null) =>
  z.custom<T>().check(({ value, issues }) => {
    const fault = faultOf(value)
    if (fault !== null) issues.push({ code: 'custom', input: undefined, ...fault })
  })

/**
 * Entries are counted first, then judged up to the first fault. `z.array` would judge all entries even after a fault,
 * and a union would keep a tree of issues for each entry that does not fit.
 */
const entriesSchema = judgedBy<EntryInput[]>(entriesFault)

/** The decimal number of an event. Without it the events come from the beginning. */
const lastEventIdSchema = z
  .string()
  .regex(/^\d{1,15}$/)
  .nullish()

export const createArchiveInputSchema = z.object({
  archiveKey: archiveKeySchema,
  entries: entriesSchema,
  /** The file name of the archive, without its extension. @default "archive" */
  name: z.string().max(1024).optional(),
  /** @default "zip" */
  format: archiveFormatSchema.optional(),
  /** Only a zip may have another one than "store". @default "store" */
  compression: compressionSchema.optional(),
  /** Adds `REPORT_NAME` as the last member: the outcome of each entry, with URLs without queries. @default false */
  report: z.boolean().optional(),
  /** `complete` then has the digest of the whole archive, which costs one more reading of it. @default none */
  checksum: z.literal('sha-256').optional(),
  /** 'abort' ends the archive at the first entry that fails. @default "skip" */
  onEntryFailure: z.enum(['skip', 'abort']).optional(),
  /** 'finish' goes on even if nobody watches or downloads any more. @default "abort" */
  whenUnwatched: z.enum(['abort', 'finish']).optional(),
  /**
   * At each origin, at most so many requests at a time for this archive. It is not compared when two manifests are.
   * @default as the server has it
   */
  maxPerOrigin: z.number().int().min(1).max(10_000).optional(),
  /** Goes on after this event, for a reconnect. It is not compared when two manifests are. */
  lastEventId: lastEventIdSchema,
})
export type CreateArchiveInput = z.infer<typeof createArchiveInputSchema>

/** The input of `createArchive` without a key, as no archive is created. */
export const planArchiveInputSchema = createArchiveInputSchema
  .pick({ entries: true, name: true, format: true, compression: true, report: true })
  .extend({
    /** Asks every origin by HEAD. Otherwise nothing leaves the server, and only the manifest is read. @default false */
    head: z.boolean().optional(),
  })
export type PlanArchiveInput = z.infer<typeof planArchiveInputSchema>

export const watchArchiveInputSchema = z.object({ archiveKey: archiveKeySchema, lastEventId: lastEventIdSchema })
export type WatchArchiveInput = z.infer<typeof watchArchiveInputSchema>

export const listEntriesInputSchema = z.object({
  archiveKey: archiveKeySchema,
  /** Index of the first entry. @default 0 */
  cursor: z.number().int().min(0).optional(),
  /** The most entries of a page. @default 100 */
  limit: z.number().int().min(1).max(1000).optional(),
})
export type ListEntriesInput = z.infer<typeof listEntriesInputSchema>

export const cancelArchiveInputSchema = z.object({ archiveKey: archiveKeySchema })
export type CancelArchiveInput = z.infer<typeof cancelArchiveInputSchema>

/** The longest text that `echo` takes, in UTF-16 units. */
export const MAX_ECHO_LENGTH = 4096
export const echoInputSchema = z.object({ text: z.string().max(MAX_ECHO_LENGTH) })
