// Proposes what an entry is called, from what the client asked for and what the origin said. Raw: it cleans nothing, but cuts.
import { decodeExtended, parse } from 'content-disposition'
import mime from 'mime'
import { MAX_NAME_LENGTH } from '#contracts/archive.ts'
import { cutEnd, cutMiddle } from '../lib/text.ts'

export interface NameSources {
  /** From the manifest; may hold folders. */
  readonly requested?: string | null | undefined
  /** The header's value, one character a byte, as HTTP parsers hand it over. */
  readonly contentDisposition?: string | null | undefined
  /** After redirects. */
  readonly finalUrl: URL
  readonly contentType?: string | null | undefined
  /** The entry's place in the manifest, from 0. */
  readonly index: number
}

/** A longer Content-Disposition is not read. Above what HTTP parsers let through by default there is none anyway. */
const MAX_DISPOSITION_LENGTH = 16_384
/** Longer than any media type (RFC 6838 section 4.2: twice 127) with some parameters. */
const MAX_TYPE_LENGTH = 512

/** A file like ".htaccess" needs no other one. */
const EXTENSION = /\.[A-Za-z0-9]{1,16}$/

/** Where the registry's first extension is not the one in use, or says nothing. */
const extensionOverrides: Readonly<Record<string, string | null>> = {
  'application/octet-stream': null,
  'audio/mpeg': 'mp3',
  'video/quicktime': 'mov',
}

/**
 * The first source that has a name: the manifest, Content-Disposition, the URL's path, the entry's number. At most
 * `MAX_NAME_LENGTH` and an extension: it is journalled.
 */
export function proposeName({ requested, contentDisposition, finalUrl, contentType, index }: NameSources): string {
  const asked = cutMiddle(requested ?? '', MAX_NAME_LENGTH)
  if (asked.trim() !== '') return asked
  const name =
    cutName(nameFromDisposition(contentDisposition ?? '')) ??
    cutName(nameFromUrl(finalUrl)) ??
    `file-${String(index + 1).padStart(4, '0')}`
  if (EXTENSION.test(name)) return name
  const extension = extensionOf(contentType ?? '')
  return extension === null ? name : `${name}.${extension}`
}

const cutName = (name: string | null) => (name === null ? null : cutMiddle(name, MAX_NAME_LENGTH))

/** RFC 6266 4.3: filename* wins over filename, and only the last path segment of either is taken. */
function nameFromDisposition(header: string): string | null {
  if (header === '' || header.length > MAX_DISPOSITION_LENGTH) return null
  const { parameters } = parse(header, { extended: false })
  const extended = decodeExtended(parameters['filename*'] ?? '')
  return lastSegment(extended ?? '') ?? lastSegment(decodeRawBytes(parameters.filename ?? ''))
}

/** Many origins put UTF-8 into `filename` as it is, without saying so; what is not UTF-8 is Latin-1. */
function decodeRawBytes(text: string): string {
  if (!/[\x80-\xff]/.test(text) || /[^\x00-\xff]/.test(text)) return text
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'latin1'))
  } catch {
    return text
  }
}

/** The last segment that is not empty. */
function nameFromUrl({ pathname }: URL): string | null {
  let end = pathname.length
  while (pathname[end - 1] === '/') end--
  return lastSegment(decodeEscapes(pathname.slice(pathname.lastIndexOf('/', end - 1) + 1, end)))
}

/** Runs of escapes that are no UTF-8 stay as they are written. */
function decodeEscapes(text: string): string {
  return text.replace(/(?:%[0-9A-Fa-f]{2})+/g, (escapes) => {
    try {
      return decodeURIComponent(escapes)
    } catch {
      return escapes
    }
  })
}

/** Null if nothing would be left that can name a file. */
function lastSegment(path: string): string | null {
  const segment = path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
  return /[^\s.\p{Cc}\p{Cf}\p{Cs}]/u.test(segment) ? segment : null
}

function extensionOf(contentType: string): string | null {
  const type = cutEnd(contentType, MAX_TYPE_LENGTH).split(';', 1)[0]!.trim().toLowerCase()
  if (Object.hasOwn(extensionOverrides, type)) return extensionOverrides[type]!
  return type === '' ? null : mime.getExtension(type)
}
