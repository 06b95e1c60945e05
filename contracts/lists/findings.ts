// What was found in a list: entries, lines that were ignored and why, and hosts that lack a scheme. Reads no text itself.
import { MAX_ENTRIES, MAX_NAME_LENGTH, MAX_URL_LENGTH } from '../archive.ts'
import { cut } from './text.ts'

export interface ListEntry {
  /** As the list has it: spaces, escapes and letters of other scripts included. */
  readonly url: string
  /** What the list wants it to be called in the archive; absent if it does not say. */
  readonly name?: string
  /** From 1. */
  readonly line: number
}

export interface Ignored {
  readonly line: number
  /** What was ignored, cut to `MAX_SHOWN_LENGTH`. */
  readonly text: string
  readonly reason: string
}

export interface BareHost {
  readonly line: number
  /** What the list has, cut to `MAX_SHOWN_LENGTH`. */
  readonly text: string
}

/** Enough to recognise a line by. */
const MAX_SHOWN_LENGTH = 120
/** More findings of a kind are counted only: nobody reads them. */
const MAX_KEPT = 1000
/** A text with more lines to ignore is not a list: reading it to its end would only take time. */
const MAX_IGNORED = 100_000

export const reasons = {
  control: 'a control character in the URL',
  json: 'not JSON',
  jsonItem: 'neither a URL nor an object with a url',
  jsonRest: 'not JSON, and nothing behind it was read',
  jsonName: 'the name is not text',
  longName: `a name of more than ${MAX_NAME_LENGTH} characters`,
  longUrl: `a URL of more than ${MAX_URL_LENGTH} characters`,
  mirror: 'a mirror of the URL before it; one is fetched',
  moreCells: 'more cells than the header has; a cell that holds the separator needs quotes',
  noUrl: 'no URL in its column',
  notUrl: 'not a URL',
  notUtf8: 'not UTF-8',
  nul: 'a NUL character; perhaps UTF-16 without a byte order mark',
  relative: 'a relative URL',
  space: 'a space inside: write %20 if it belongs to the URL, a tab if a name follows',
  tooManyUrls: 'too many URLs in one line; the rest of it was not read',
  tooMuch: 'too much before it; nothing from here on was read',
  unclosed: 'a tag or comment that does not end',
} as const

export const notFetched = (scheme: string) => `only http and https are fetched, not ${cut(scheme, 32)}`

export class Findings {
  readonly entries: ListEntry[] = []
  readonly ignored: Ignored[] = []
  readonly bareHosts: BareHost[] = []
  ignoredCount = 0
  bareHostCount = 0
  readonly #assumeHttps: boolean

  constructor(assumeHttps: boolean) {
    this.#assumeHttps = assumeHttps
  }

  /** `url` begins with http:// or https://. */
  take(line: number, url: string, name = ''): void {
    const given = name.trim()
    const fault = faultOfUrl(url) ?? faultOfName(given)
    if (fault !== null) this.ignore(line, url, fault)
    else this.entries.push(given === '' ? { url, line } : { url, name: given, line })
  }

  /** `text` begins with a host, perhaps with "//" before it. */
  offer(line: number, text: string, name?: string): void {
    this.bareHostCount++
    if (this.bareHosts.length < MAX_KEPT) this.bareHosts.push({ line, text: shown(text) })
    if (this.#assumeHttps) this.take(line, `https:${text.startsWith('//') ? '' : '//'}${text}`, name)
  }

  ignore(line: number, text: string, reason: string): void {
    this.ignoredCount++
    if (this.ignored.length < MAX_KEPT) this.ignored.push({ line, text: shown(text), reason })
  }

  /** Names an entry that was taken before. */
  rename(index: number, line: number, name: string): void {
    const given = name.trim()
    const fault = faultOfName(given)
    if (fault !== null) this.ignore(line, name, fault)
    else if (given !== '') this.entries[index] = { ...this.entries[index]!, name: given }
  }

  /** Grows with everything that is found. */
  get count(): number {
    return this.entries.length + this.ignoredCount + this.bareHostCount
  }

  /** True if nothing more is worth reading: the server looks at no more entries either. */
  get isFull(): boolean {
    return this.entries.length >= MAX_ENTRIES || this.ignoredCount + this.bareHostCount >= MAX_IGNORED
  }

  /** Reports that nothing more was read. It is put before all findings, so that it is seen. */
  giveUp(line: number, text: string): void {
    if (this.ignored[0]?.reason === reasons.tooMuch) return
    this.ignoredCount++
    this.ignored.unshift({ line, text: shown(text), reason: reasons.tooMuch })
  }
}

const shown = (text: string) => cut(text.trim(), MAX_SHOWN_LENGTH)

/** `canParse` would accept these hosts too, but takes much longer. */
const PLAIN_HOST = /^https?:\/\/[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?(?:[/?#]|$)/i

function faultOfUrl(url: string): string | null {
  if (url.length > MAX_URL_LENGTH) return reasons.longUrl
  if (url.includes('\ufffd')) return reasons.notUtf8
  if (/[\u0000-\u001f\u007f]/.test(url)) return reasons.control
  return PLAIN_HOST.test(url) || URL.canParse(url) ? null : reasons.notUrl
}

function faultOfName(name: string): string | null {
  if (name.length > MAX_NAME_LENGTH) return reasons.longName
  return name.includes('\ufffd') ? reasons.notUtf8 : null
}
