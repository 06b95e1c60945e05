// Reads a list line by line: URLs in text, rows with a name, Markdown, tags, comments, and the input files of aria2.
import { isBareHost } from './bare-host.ts'
import { type Findings, notFetched, reasons } from './findings.ts'
import { holdsTag, readHtml } from './html.ts'
import type { Line } from './lines.ts'
import { faultOf, readReference } from './reference.ts'
import { MAX_ROW_LENGTH, namedUrlOf } from './rows.ts'
import { type FoundUrl, fileOf, MAX_URLS, urlsIn } from './scan.ts'
import { hasExtension, strip, trimAll } from './text.ts'

/** Most lines are one URL and nothing else. This is faster than the way of all other lines. */
const PLAIN_URL = /^https?:\/\/[\w/:?&=%#~+@$!.-]*[\w/]$/i
/** Lists begin their lines with bullets, numbers, check boxes and marks of quotation. */
const BULLETS = /^(?:(?:[-*+•·–—>]|\d{1,9}[.)]|\[[ x]\])\s+){1,9}/i
/** An option of aria2 is indented, and stands below the URLs that it is for. */
const OPTION = /^[ \t]+([a-z][a-z0-9-]*)=(.*)$/s
const ARIA2 =
  /^[ \t]+(?:out|dir|header|referer|user-agent|checksum|gid|split|pause|continue|load-cookies|http-user|http-passwd|(?:all|http|https|ftp)-proxy|(?:max|min)-[a-z-]+)=/m
/** What follows these schemes may hold "://" without being a URL there. */
const OPAQUE = /^(?:about|blob|cid|data|javascript|magnet|mailto|sms|tel|urn|view-source):\S/i
const FENCE = /^(?:`{3,}|~{3,})\s*[\w-]*$/
const WORD = /[\p{L}\p{N}]/u
/** Lines without it are marks: "---", "[", "},". A NUL and what was not text are reported, so they count. */
const MEANING = /[\p{L}\p{N}\0\ufffd]/u
const COMMENT = /\s#/

export const isAria2 = (text: string) => ARIA2.test(text)

export function createLineReader(findings: Findings, { aria2 }: { aria2: boolean }) {
  /** The index of the first entry of the line before; null if that line has none. */
  let newest: number | null = null

  function readOption(line: Line): boolean {
    const [, option, value] = OPTION.exec(line.text) ?? []
    if (option === undefined || value === undefined) return false
    if (option === 'out' && newest !== null) findings.rename(newest, line.number, value)
    return true
  }

  return (line: Line): void => {
    if (line.text === '') return
    const isPlain = PLAIN_URL.test(line.text)
    const text = isPlain ? line.text : trimAll(line.text)
    if (text.startsWith('#') || !MEANING.test(text)) return
    if (aria2 && readOption(line)) return
    const before = findings.entries.length
    if (isPlain) findings.take(line.number, text)
    else if (aria2 && text.includes('\t')) readMirrors(text, line.number, findings)
    else readText(text, line.number, findings)
    newest = findings.entries.length > before ? before : null
  }
}

/** More mirrors of a file are not looked at: only the first URL is taken anyway. */
const MAX_MIRRORS = 256

/** URLs of the same file, with tabs between. */
function readMirrors(text: string, line: number, findings: Findings): void {
  const [first = '', ...mirrors] = text.split('\t', MAX_MIRRORS).map(trimAll)
  readReference({ line, text: first }, findings)
  for (const mirror of mirrors) if (mirror !== '') findings.ignore(line, mirror, reasons.mirror)
}

/** Makes entries and findings of whatever a line holds. Only marks without words become nothing. */
export function readText(text: string, line: number, findings: Findings): void {
  if (text.includes('\0')) return findings.ignore(line, text, reasons.nul)
  if (holdsTag(text)) return readTags(text, line, findings)
  const bare = text.replace(BULLETS, '')
  const row = OPAQUE.test(bare) ? null : namedUrlOf(bare)
  if (row !== null) readReference({ line, text: row.url, name: row.name }, findings)
  else if (OPAQUE.test(bare)) findings.ignore(line, bare, faultOf(bare))
  else if (!readUrls(text, line, findings)) readWithoutUrl(bare, line, findings)
}

function readTags(text: string, line: number, findings: Findings): void {
  const before = findings.count
  let words = ''
  readHtml(text, line, findings, (part) => {
    if (!readUrls(part, line, findings)) words ||= WORD.test(part) ? part : ''
  })
  if (findings.count === before && words !== '') readWithoutUrl(trimAll(words), line, findings)
}

/** False if there is no URL of any scheme. */
export function readUrls(text: string, line: number, findings: Findings): boolean {
  const urls = urlsIn(text)
  let from = 0
  for (const [index, url] of urls.entries()) {
    const before = text.slice(from, url.start)
    const behind = text.slice(url.after, urls[index + 1]?.start ?? text.length)
    const comment = COMMENT.exec(behind)?.index
    const rest = behind.slice(0, comment)
    readBetween(before, line, findings)
    from = url.after + readUrl(url, { before, rest }, line, findings)
    // The rest of the line is a comment, and URLs in it are not meant.
    if (comment !== undefined) {
      readBetween(text.slice(from, url.after + comment), line, findings)
      return true
    }
  }
  if (urls.length === MAX_URLS) findings.ignore(line, text.slice(from), reasons.tooManyUrls)
  else if (urls.length > 0) readBetween(text.slice(from), line, findings)
  return urls.length > 0
}

interface Around {
  readonly before: string
  readonly rest: string
}

/** Takes or ignores the URL. Returns how many characters of `rest` belonged to it. */
function readUrl(url: FoundUrl, { before, rest }: Around, line: number, findings: Findings): number {
  if (url.scheme !== 'http' && url.scheme !== 'https') {
    findings.ignore(line, url.url, notFetched(url.scheme))
    return 0
  }
  const more = url.isQuoted || url.end !== url.after || WORD.test(before.replace(BULLETS, '')) ? '' : wordsOf(url, rest)
  const file = fileOf(url.url)
  if (more === '' || file === '' || url.url.includes('?') || !hasExtension(more)) {
    findings.take(line, url.url, url.name)
    return 0
  }
  if (!hasExtension(file)) findings.take(line, url.url + more, url.name)
  else if (/\s/.test(more.trim())) findings.take(line, url.url, url.name)
  else findings.ignore(line, url.url + more, reasons.space)
  return more.length
}

/** More words are a sentence, not a part of a file's name. */
const MAX_WORDS = 8

/** What may belong to a URL that holds spaces: "https://example.org/my file.pdf". */
function wordsOf({ opener }: FoundUrl, rest: string): string {
  if (rest.length > 1024 || !/^ +[\p{L}\p{N}_(]/u.test(rest)) return ''
  let end = opener === '(' && rest.includes(')') ? rest.indexOf(')') : rest.length
  while (/[\s.,;]/.test(rest[end - 1]!)) end--
  const words = rest.slice(0, end)
  return words.trim().split(/\s+/).length > MAX_WORDS ? '' : words
}

/** Looks for hosts and relative links beside URLs. Most of it is prose, so only what is surely one of them counts. */
function readBetween(text: string, line: number, findings: Findings): void {
  if (text.length > MAX_ROW_LENGTH || !text.includes('.')) return
  for (const word of wordsIn(text)) if (isBareHost(word, true)) findings.offer(line, word)
  for (const [, target = ''] of text.matchAll(/\]\(\s*([^)\s]+)/g)) {
    if (!isBareHost(target, true)) findings.ignore(line, target, reasons.relative)
  }
}

const ENCLOSING = /[\s"'“”„‘’‚«»‹›<>()[\]{}`*_~|,;。，、；]/
const isEnclosing = (character: string) => ENCLOSING.test(character)

function wordsIn(text: string): string[] {
  return text.split(/[\s,;|()<>"'`“”„«»]+/).map((word) => strip(word, (one) => isEnclosing(one) || one === '.'))
}

function readWithoutUrl(text: string, line: number, findings: Findings): void {
  if (!MEANING.test(text) || FENCE.test(text.slice(0, 64))) return
  const comment = COMMENT.exec(text)?.index
  const said = text.slice(0, comment)
  const words = said.length > MAX_ROW_LENGTH ? [] : wordsIn(said).filter((word) => word !== '')
  const hosts = words.filter((word) => isBareHost(word, words.length > 1))
  for (const host of hosts) findings.offer(line, host)
  if (hosts.length > 0) return
  if (/\]\(\s*[^)\s]/.test(said) || /^\.{0,2}\/[^\s/]/.test(said)) findings.ignore(line, text, reasons.relative)
  else findings.ignore(line, text, text.includes('\ufffd') ? reasons.notUtf8 : faultOf(strip(said, isEnclosing)))
}
