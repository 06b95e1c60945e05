// What an operator sets for origins: reads the file's text, and finds the rule for a URL. No I/O.
import * as z from 'zod'
import { portOf } from '../source.ts'

/** Set by the fetcher itself, or meant for one connection (RFC 9110 section 7.6.1). */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  ...['accept-encoding', 'connection', 'content-length', 'cookie', 'expect', 'host', 'if-range', 'keep-alive'],
  ...['proxy-authorization', 'proxy-connection', 'range', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
])

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** RFC 9110 section 5.5, without what is obsolete. */
const FIELD_VALUE = /^[\x20-\x7e\t]*$/
/** A name or an address, perhaps with "*." before it and a port behind it; or "*" for all. */
const HOST = /^(\*|(\*\.)?[a-z0-9_.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?$/

const fieldName = z
  .string()
  .regex(TOKEN, 'not the name of a header field')
  .refine((name) => !OWN_FIELDS.has(name.toLowerCase()), 'this field is set by the server itself')

const ruleSchema = z.strictObject({
  /** "files.example.org", "*.example.org" for all names below it, "*" for all; with ":8080" for one port only. */
  host: z.string().toLowerCase().regex(HOST, 'a host such as files.example.org, *.example.org or 192.0.2.1:8080'),
  /** Requests at a time, of all archives together. */
  maxFetches: z.int().min(1).optional(),
  /** Requests a second, of all archives together. */
  requestsPerSecond: z.number().positive().max(100_000).optional(),
  /** Sent with every request to this host, and to no other one. */
  headers: z.record(fieldName, z.string().max(8192).regex(FIELD_VALUE, 'not the value of a header field')).optional(),
  /** Never fetched from: its entries fail as FORBIDDEN_TARGET. */
  forbidden: z.boolean().optional(),
})
const rulesSchema = z.array(ruleSchema).max(10_000)

export type OriginRule = Readonly<z.infer<typeof ruleSchema>>

/**
 * Reads a JSON list of rules.
 * @throws Error whose message names the place, and holds no value: headers may be secret
 */
export function parseOriginRules(text: string): OriginRule[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Error('not JSON')
  }
  const { data, error } = rulesSchema.safeParse(value)
  if (error === undefined) return data
  const [issue] = error.issues
  throw new Error(`${issue!.path.map(String).join('.') || 'the whole'}: ${issue!.message}`)
}

/** The first rule that fits; null if none does. */
export function ruleFor(url: URL, rules: readonly OriginRule[]): OriginRule | null {
  const host = url.hostname.replace(/\.$/, '')
  const port = `:${portOf(url)}`
  return rules.find((rule) => fits(rule.host, host, port)) ?? null
}

function fits(pattern: string, host: string, port: string): boolean {
  const [, name = '', patternPort] = /^(.*?)(:\d+)?$/.exec(pattern)!
  if (patternPort !== undefined && patternPort !== port) return false
  return name === '*' || name === host || (name.startsWith('*.') && host.endsWith(name.slice(1)))
}
