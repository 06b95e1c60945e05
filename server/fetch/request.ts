// Writes the header fields of a request. Each hop gets only what is meant for its own host. Sends nothing.
import type { OriginRule } from './origins/rules.ts'
import type { Received } from './range-resume.ts'

export interface RequestFields {
  readonly userAgent: string
  readonly asksFor: 'body' | 'head' | 'first-byte'
  /** What of the body is there already; the rest is asked for. */
  readonly received: Received | null
  /** Of the host that is asked. */
  readonly rule: OriginRule | null
  /** What this host has set in this chain of redirects. */
  readonly cookie: string | null
}

/** The names are in lower case. */
export function headersFor({ userAgent, asksFor, received, rule, cookie }: RequestFields): Record<string, string> {
  const headers: Record<string, string> = { 'user-agent': userAgent, accept: '*/*', 'accept-encoding': 'identity' }
  if (rule?.headers) for (const [name, value] of Object.entries(rule.headers)) headers[name.toLowerCase()] = value
  if (cookie !== null) headers.cookie = cookie
  if (asksFor === 'first-byte') headers.range = 'bytes=0-0'
  if (received !== null) {
    headers.range = `bytes=${received.bytes}-`
    headers['if-range'] = received.validator
  }
  return headers
}
