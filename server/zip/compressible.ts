// Decides which bodies are compressed already, so that deflating them only costs time. Looks at types and names, not at bytes.
import mime from 'mime'

/** Types of pictures and sounds that hold plain samples or text, so that they deflate well. */
const plainMedia = new Set([
  'image/svg+xml',
  'image/bmp',
  'image/x-ms-bmp',
  'image/tiff',
  'image/x-icon',
  'image/vnd.microsoft.icon',
  'image/vnd.adobe.photoshop',
  'image/x-portable-anymap',
  'image/x-portable-bitmap',
  'image/x-portable-graymap',
  'image/x-portable-pixmap',
  'image/x-tga',
  'image/x-xbitmap',
  'image/x-xpixmap',
  'audio/wav',
  'audio/wave',
  'audio/x-wav',
  'audio/vnd.wave',
  'audio/aiff',
  'audio/x-aiff',
  'audio/basic',
  'audio/midi',
])

const compressed = new Set([
  'application/epub+zip',
  'application/gzip',
  'application/java-archive',
  'application/vnd.android.package-archive',
  'application/vnd.rar',
  'application/x-7z-compressed',
  'application/x-apple-diskimage',
  'application/x-bzip',
  'application/x-bzip2',
  'application/x-gzip',
  'application/x-lzma',
  'application/x-rar-compressed',
  'application/x-xz',
  'application/zip',
  'application/zstd',
  'font/woff',
  'font/woff2',
])

/** Office documents are zips, so they are compressed already. */
const OFFICE = /^application\/vnd\.(?:openxmlformats-officedocument|oasis\.opendocument)\./

function isCompressedType(type: string): boolean {
  if (/^(?:image|audio|video)\//.test(type)) return !plainMedia.has(type)
  return compressed.has(type) || OFFICE.test(type)
}

/** True if the media type that the origin named, or the extension of the name, says so. */
export function isCompressedMedia(name: string, contentType: string | null): boolean {
  const named = (contentType ?? '').split(';', 1)[0]!.trim().toLowerCase()
  const byName = name.includes('.') ? (mime.getType(name) ?? '') : ''
  return isCompressedType(named) || isCompressedType(byName)
}
