// Reads a text that is a URL as a whole or not at all: a cell, a JSON string, an attribute. Nothing is cut off it.

import { isBareHost } from './bare-host.ts'
import { type Findings, notFetched, reasons } from './findings.ts'
import { cut } from './text.ts'

/** The beginning of an http or https URL. */
export const HTTP = /^https?:\/\//i
/** One letter and a colon is a drive, not a scheme. */
const SCHEME = /^([a-z][a-z0-9+.-]{1,31}):(?=\S)/i

/** The scheme of a text that has one; null for a host with a port. */
export function schemeOf(text: string): string | null {
  if (isBareHost(text)) return null
  return SCHEME.exec(text)?.[1]?.toLowerCase() ?? null
}

/** Why a text without an http URL is ignored. */
export function faultOf(text: string): string {
  const scheme = schemeOf(text)
  if (scheme === null || scheme === 'http' || scheme === 'https') return reasons.notUrl
  return notFetched(scheme)
}

export interface Reference {
  readonly line: number
  readonly text: string
  readonly name?: string
  /** In HTML, what has no scheme is relative to its page. */
  readonly inHtml?: boolean
}

export function readReference({ line, text, name, inHtml = false }: Reference, findings: Findings): void {
  if (HTTP.test(text)) findings.take(line, text, name)
  else if (inHtml ? text.startsWith('//') && isBareHost(text) : isBareHost(text)) findings.offer(line, text, name)
  else if (inHtml && schemeOf(cut(text, 64)) === null) findings.ignore(line, text, reasons.relative)
  else findings.ignore(line, text, faultOf(text))
}
