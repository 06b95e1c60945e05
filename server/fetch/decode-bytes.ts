// Turns bytes that an origin wrote into text. Bytes are one character each here, as HTTP parsers hand over header fields.
import { isUtf8 } from 'node:buffer'

/** Browsers take bytes for windows-1252 if they are not UTF-8, and nothing says what they are. It is Latin-1 but for these. */
const FROM_80_TO_9F = new TextDecoder('windows-1252').decode(Uint8Array.from({ length: 32 }, (_, n) => 0x80 + n))

/** Escapes like %C3 become bytes; what is not a whole escape stays. */
export function unescapeBytes(text: string): string {
  return text.replace(/%([\dA-Fa-f]{2})/g, (_escape, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
}

/** Returns null if they are not UTF-8. It asks first, as a header can hold thousands of words, and an exception is dear. */
export function decodeUtf8(bytes: string): string | null {
  if (/^[\0-\x7f]*$/.test(bytes)) return bytes
  const buffer = Buffer.from(bytes, 'latin1')
  return isUtf8(buffer) ? buffer.toString() : null
}

export function decodeUnnamed(bytes: string): string {
  return decodeUtf8(bytes) ?? bytes.replace(/[\x80-\x9f]/g, (byte) => FROM_80_TO_9F[byte.charCodeAt(0) - 0x80]!)
}

/** Returns null if no browser knows the charset, or the bytes are not in it. The lenient form puts U+FFFD for those. */
export function decodeBytes(bytes: string, charset: string, { isLenient = false } = {}): string | null {
  try {
    return new TextDecoder(charset, { fatal: !isLenient }).decode(Buffer.from(bytes, 'latin1'))
  } catch {
    return null
  }
}
