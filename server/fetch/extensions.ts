// Decides when a media type gives a name its extension, and which, by Chromium's rule and by its table of types.
import mime from 'mime'
import { cutEnd } from '../lib/text.ts'

/** Longer than any media type (RFC 6838 section 4.2: twice 127) with some parameters. */
const MAX_TYPE_LENGTH = 512

/**
 * Chromium knows these types on every system. It gives the first extension, and keeps the others. The table was measured
 * with Chromium 156, and test/e2e/chromium-names.test.ts asks Chromium again. The registry of `mime` disagrees on many:
 * there a JPEG is a .jpg, and a .log is plain text.
 */
export const browserExtensions: Readonly<Record<string, string>> = {
  'application/epub+zip': 'epub',
  'application/font-woff': 'woff',
  'application/gzip': 'gz tgz',
  'application/javascript': 'js',
  'application/json': 'json',
  'application/msword': 'doc dot',
  'application/pdf': 'pdf',
  'application/pkcs7-mime': 'p7m p7c p7z',
  'application/pkcs7-signature': 'p7s',
  'application/postscript': 'ps eps ai',
  'application/rdf+xml': 'rdf',
  'application/rtf': 'rtf',
  'application/vnd.android.package-archive': 'apk',
  'application/vnd.mozilla.xul+xml': 'xul',
  'application/vnd.ms-excel': 'xls',
  'application/vnd.ms-powerpoint': 'ppt',
  'application/vnd.openxmlformats-officedocument.presentationml.presentation': 'pptx',
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'xlsx',
  'application/vnd.openxmlformats-officedocument.wordprocessingml.document': 'docx',
  'application/wasm': 'wasm',
  'application/x-chrome-extension': 'crx',
  'application/x-gzip': 'gz tgz',
  'application/x-mpegurl': 'm3u8',
  'application/x-shockwave-flash': 'swf swl',
  'application/x-tar': 'tar',
  'application/x-x509-ca-cert': 'cer crt',
  'application/xhtml+xml': 'xhtml xht xhtm',
  'application/zip': 'zip',
  'audio/flac': 'flac',
  'audio/mp3': 'mp3',
  'audio/mpeg': 'mp3',
  'audio/ogg': 'ogg oga opus',
  'audio/wav': 'wav',
  'audio/webm': 'webm weba',
  'audio/x-m4a': 'm4a',
  'image/apng': 'png apng',
  'image/avif': 'avif',
  'image/bmp': 'bmp',
  'image/gif': 'gif',
  'image/jpeg': 'jpeg jpg jpe jfif pjpeg pjp',
  'image/jxl': 'jxl',
  'image/png': 'png',
  'image/svg+xml': 'svg svgz',
  'image/tiff': 'tiff tif',
  'image/vnd.microsoft.icon': 'ico',
  'image/webp': 'webp',
  'image/x-icon': 'ico',
  'image/x-png': 'png',
  'image/x-xbitmap': 'xbm',
  'message/rfc822': 'eml',
  'multipart/related': 'mht mhtml',
  'text/calendar': 'ics',
  'text/css': 'css',
  'text/csv': 'csv',
  'text/html': 'html htm shtml shtm ehtml',
  'text/javascript': 'js mjs',
  'text/markdown': 'md',
  'text/plain': 'txt text',
  'text/vtt': 'vtt',
  'text/x-sh': 'sh',
  'text/xml': 'xml xsl xbl xslt',
  'video/mp4': 'mp4 m4v',
  'video/mpeg': 'mpeg mpg mpe',
  'video/ogg': 'ogv ogm',
  'video/webm': 'webm',
}

/** The registry's first extension for these is not the one in use. Null means that the type says nothing. */
const registryOverrides: Readonly<Record<string, string | null>> = {
  'application/octet-stream': null,
  'audio/aac': 'aac',
  'image/pjpeg': 'jpeg',
  'video/quicktime': 'mov',
}
/** The registry has types for these extensions, though they are of programs. */
const GENERATORS = ['php', 'pl']

/** These are one extension together with what stands before them, as in `tar.gz`. */
const PACKED = /^(?:bz2?|gz|lz|lzma|lzo|xz|z|zst)$/i
const MAX_INNER_LENGTH = 4

/**
 * Adds an extension of the type to a name without one. An extension that does not fit is replaced if it may be: the path
 * of a URL with a query names a program ("image.php").
 */
export function withExtension(name: string, contentType: string, mayReplace: boolean): string {
  const dot = extensionDot(name)
  const present = dot === -1 ? '' : name.slice(dot + 1)
  if (present !== '' && !mayReplace) return name
  const extension = extensionFor(mediaTypeIn(contentType), present)
  if (extension === null) return name
  return `${dot === -1 ? name : name.slice(0, dot)}.${extension}`
}

/** Returns null if the present extension fits, or nothing is known. */
function extensionFor(type: string, present: string): string | null {
  const last = present.slice(present.lastIndexOf('.') + 1)
  if (Object.hasOwn(browserExtensions, type)) {
    const fitting = browserExtensions[type]!.split(' ')
    return fitting.includes(last) ? null : fitting[0]!
  }
  // Chromium asks the system for the others. A registry cannot know what a user has, so it never overrules another one.
  if (last !== '' && mime.getType(last) !== null && !GENERATORS.includes(last.toLowerCase())) return null
  if (Object.hasOwn(registryOverrides, type)) return registryOverrides[type]!
  return type === '' ? null : mime.getExtension(type)
}

/** Returns -1 if there is no extension. Chromium takes anything after the last dot for one. */
function extensionDot(name: string): number {
  const last = name.lastIndexOf('.')
  const before = last > 0 ? name.lastIndexOf('.', last - 1) : -1
  if (before === -1) return last
  const innerLength = last - before - 1
  const isDouble = PACKED.test(name.slice(last + 1)) && innerLength > 0 && innerLength <= MAX_INNER_LENGTH
  return isDouble || name.slice(before + 1).toLowerCase() === 'user.js' ? before : last
}

/** Returns the last of several types, in lower case and without parameters; an empty text if there is none. */
function mediaTypeIn(field: string): string {
  const types = cutEnd(field, MAX_TYPE_LENGTH)
    .split(',')
    .map((part) => /^[ \t]*([^\s;("]+\/[^\s;("]+)/.exec(part)?.[1] ?? '*/*')
  return (types.findLast((type) => type !== '*/*') ?? '').toLowerCase()
}
