// Reads file names out of a Content-Disposition header as Chromium does, broken headers included. Cleans nothing.
import { decodeBytes, decodeUnnamed, decodeUtf8, unescapeBytes } from './decode-bytes.ts'

/** RFC 9110 section 5.6.2 defines a token. */
const TOKEN = /^[!#$%&'*+.^_`|~\w-]+$/

/**
 * Returns what the header calls the file: `filename*` (RFC 8187), then `filename`. The first of a kind that can be read
 * counts. The header has one character a byte; its type may be any, or missing.
 */
export function fileNamesIn(header: string): string[] {
  const parts = partsOf(header)
  if (parts === null) return []
  if (TOKEN.test(parts[0]!)) parts.shift()
  let plain: string | null = null
  let extended: string | null = null
  for (const part of parts) {
    if (part === '') continue
    const parameter = parameterIn(part)
    // What follows a part that is not a parameter is not read.
    if (parameter === null) break
    if (parameter.name === 'filename') plain ??= textOf(unquote(parameter.value))
    if (parameter.name === 'filename*') extended ??= extendedTextOf(parameter.value)
  }
  return [extended, plain].filter((name) => name !== null)
}

/** Splits at semicolons outside quotes. Returns null if there is a comma, as Chromium then reads nothing. */
function partsOf(header: string): string[] | null {
  const parts: string[] = []
  let start = 0
  let isQuoted = false
  for (let at = 0; at < header.length; at++) {
    const char = header[at]
    if (char === '"') isQuoted = !isQuoted
    else if (isQuoted) at += char === '\\' ? 1 : 0
    else if (char === ',') return null
    else if (char === ';') {
      parts.push(trimBlanks(header.slice(start, at)))
      start = at + 1
    }
  }
  return [...parts, trimBlanks(header.slice(start))]
}

function parameterIn(part: string): { name: string; value: string } | null {
  const equals = part.indexOf('=')
  const name = trimBlanks(part.slice(0, Math.max(equals, 0))).toLowerCase()
  const value = trimBlanks(part.slice(equals + 1))
  return name === '' || name.includes('"') || value === '' ? null : { name, value }
}

/** `trim` would take U+00A0, which may be the last byte of a character. The pattern /[ \t]+$/ takes quadratic time. */
function trimBlanks(text: string): string {
  const isBlank = (at: number) => text[at] === ' ' || text[at] === '\t'
  let start = 0
  let end = text.length
  while (start < end && isBlank(start)) start++
  while (end > start && isBlank(end - 1)) end--
  return text.slice(start, end)
}

/** A quote that is not closed is dropped, and backslashes stay then. */
function unquote(value: string): string {
  if (!value.startsWith('"')) return value
  if (value.length === 1 || !value.endsWith('"')) return value.slice(1)
  return value.slice(1, -1).replace(/\\(.?)/gs, '$1')
}

/** Returns null if there is no text, or a word cannot be read. Encoded words lose the blanks behind them. */
function textOf(value: string): string | null {
  let text = ''
  let afterEncoded = true
  for (const [piece] of value.matchAll(/[ \t\r\n]+|[^ \t\r\n]+/g)) {
    if (/^[ \t\r\n]/.test(piece)) {
      if (!afterEncoded) text += ' '.repeat(piece.length)
      continue
    }
    const encoded = encodedWordIn(piece)
    const word = encoded === null ? plainWord(piece) : decodeWord(encoded)
    if (word === null) return null
    text += word
    afterEncoded = encoded !== null
  }
  return text === '' ? null : text
}

/** A word has raw bytes, or escapes of UTF-8 in ASCII. */
function plainWord(word: string): string | null {
  if (/[^\x00-\xff]/.test(word)) return word
  return /[^\x00-\x7f]/.test(word) ? decodeUnnamed(word) : decodeUtf8(unescapeBytes(word))
}

/** The pieces of `=?charset?encoding?text?=` (RFC 2047 section 2), which may have any length, and stand in quotes. */
type EncodedWord = readonly string[]

/** Returns null if the word is not meant as an encoded one. */
function encodedWordIn(word: string): EncodedWord | null {
  if (!word.startsWith('=?')) return null
  const pieces = word.split('?').filter((piece) => piece !== '')
  return pieces[2] === undefined || /^[bq]$/i.test(pieces[2]) ? pieces : null
}

function decodeWord([, charset, encoding, text, end, more]: EncodedWord): string | null {
  if (text === undefined || end !== '=' || more !== undefined) return null
  const bytes = encoding!.toLowerCase() === 'b' ? fromBase64(text) : fromQuotedPrintable(text)
  return bytes === null ? null : decodeBytes(bytes, charset!, { isLenient: true })
}

function fromBase64(text: string): string | null {
  const isBase64 = text.length % 4 === 0 && /^[A-Za-z\d+/]+={0,2}$/.test(text)
  return isBase64 ? Buffer.from(text, 'base64').toString('latin1') : null
}

/** RFC 2047 section 4.2 defines the encoding. */
function fromQuotedPrintable(text: string): string | null {
  if (!/^(?:[!-<>@-~]|=[\dA-Fa-f]{2})*$/.test(text)) return null
  return unescapeBytes(text.replaceAll('_', ' ').replaceAll('%', '%25').replaceAll('=', '%'))
}

/** RFC 8187 section 3.2 defines the form; here it may have any charset. */
function extendedTextOf(value: string): string | null {
  const [charset, , text, more] = value.split("'")
  if (!charset || !text || more !== undefined || /["\x80-\uffff]/.test(value)) return null
  return decodeBytes(unescapeBytes(text), charset)
}
