// What a client asks for: keys, ids, the manifest, and what it may list. Schemas and types, no behaviour.
import * as z from 'zod'

/** Spoken by this build. A client that names another one is refused with PROTOCOL_MISMATCH. */
export const PROTOCOL = 1

/** Longest source URL that is looked at, in UTF-16 units; a longer one fails as its entry's BAD_URL. */
export const MAX_URL_LENGTH = 8192

/**
 * Secret, made by the client, at least 128 random bits in base64url (RFC 4648 section 5). It creates, watches, lists and
 * cancels one archive, and stands in no URL and no log.
 */
export type ArchiveKey = string
export const archiveKeySchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{22,128}$/, 'an archive key is 22 to 128 characters of base64url, at least 128 random bits')

/** Public, derived by the server from principal and key. It names the archive in hrefs and logs: 128 bits, base64url. */
export type ArchiveId = string
export const archiveIdSchema = z.string().regex(/^[A-Za-z0-9_-]{22}$/)

export const archiveFormatSchema = z.enum(['zip', 'tar', 'tar.gz'])
export type ArchiveFormat = z.infer<typeof archiveFormatSchema>

/**
 * How bodies stand in a zip. 'deflate' compresses every one that gets smaller by it; 'auto' the same, but leaves alone what is
 * compressed media already. tar has no compression of its entries; tar.gz is gzip as a whole.
 */
export const compressionSchema = z.enum(['store', 'deflate', 'auto'])
export type Compression = z.infer<typeof compressionSchema>

/** The name that the report has in an archive that was asked to hold one; no entry gets it then. */
export const REPORT_NAME = 'sheaf-report.json'

/** A source URL, or one with the name it shall have in the archive ("/" makes folders). Any string is taken as a URL. */
export type EntryInput = string | { url: string; name?: string | undefined }

export function urlOf(entry: EntryInput): string {
  return typeof entry === 'string' ? entry : entry.url
}

/** The name that is asked for; null if the server shall choose one. */
export function nameOf(entry: EntryInput): string | null {
  return typeof entry === 'string' ? null : (entry.name ?? null)
}

/** More entries are not looked at; how many a server takes is told by its `limits.maxEntries`. */
export const MAX_ENTRIES = 1_000_000
/** Longest name that may be asked for, in UTF-16 units; what it becomes is 1 024 bytes of UTF-8 at most. */
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

export const entryInputSchema = judgedBy<EntryInput>(entryFault)

/**
 * Counted first, then judged up to the first fault: `z.array` visits every item whatever came before, and a union keeps a
 * tree of issues for each one that fits none of it.
 */
const entriesSchema = judgedBy<EntryInput[]>(entriesFault)

/** The decimal number of an event, or nothing: from the beginning. */
const lastEventIdSchema = z
  .string()
  .regex(/^\d{1,15}$/)
  .nullish()

export const createArchiveInputSchema = z.object({
  archiveKey: archiveKeySchema,
  entries: entriesSchema,
  /** What the archive's file is called, without its extension. @default "archive" */
  name: z.string().max(1024).optional(),
  /** @default "zip" */
  format: archiveFormatSchema.optional(),
  /** Other than "store" only for a zip. @default "store" */
  compression: compressionSchema.optional(),
  /** Adds `REPORT_NAME` as the last member: what became of each entry, URLs without their queries. @default false */
  report: z.boolean().optional(),
  /** Has `complete` tell the whole archive's digest; costs one more reading of it. @default none */
  checksum: z.literal('sha-256').optional(),
  /** 'abort' ends the archive at the first entry that fails. @default "skip" */
  onEntryFailure: z.enum(['skip', 'abort']).optional(),
  /** 'finish' goes on when nobody watches or downloads any more. @default "abort" */
  whenUnwatched: z.enum(['abort', 'finish']).optional(),
  /** Where to go on after a reconnect. No part of what makes two manifests the same. */
  lastEventId: lastEventIdSchema,
})
export type CreateArchiveInput = z.infer<typeof createArchiveInputSchema>

/** What `createArchive` would be asked for, without a key: nothing is made of it. */
export const planArchiveInputSchema = createArchiveInputSchema
  .pick({ entries: true, name: true, format: true, compression: true, report: true })
  .extend({
    /** Ask every origin by HEAD. Otherwise nothing leaves the server, and only what the manifest shows is told. @default false */
    head: z.boolean().optional(),
  })
export type PlanArchiveInput = z.infer<typeof planArchiveInputSchema>

export const watchArchiveInputSchema = z.object({ archiveKey: archiveKeySchema, lastEventId: lastEventIdSchema })
export type WatchArchiveInput = z.infer<typeof watchArchiveInputSchema>

export const listEntriesInputSchema = z.object({
  archiveKey: archiveKeySchema,
  /** Index of the first entry wanted. @default 0 */
  cursor: z.number().int().min(0).optional(),
  /** At most so many. @default 100 */
  limit: z.number().int().min(1).max(1000).optional(),
})
export type ListEntriesInput = z.infer<typeof listEntriesInputSchema>

export const cancelArchiveInputSchema = z.object({ archiveKey: archiveKeySchema })
export type CancelArchiveInput = z.infer<typeof cancelArchiveInputSchema>

/** Longest text `echo` takes, in UTF-16 units. */
export const MAX_ECHO_LENGTH = 4096
export const echoInputSchema = z.object({ text: z.string().max(MAX_ECHO_LENGTH) })
