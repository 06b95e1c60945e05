// Turns the bytes of a list into text. The byte order mark decides; without one it is UTF-8.

/** Never throws: what is not text in its encoding becomes U+FFFD, and the lines that hold it are reported when they are read. */
export function decodeList(bytes: Uint8Array): string {
  return new TextDecoder(encodingOf(bytes)).decode(bytes)
}

function encodingOf([first, second]: Uint8Array): string {
  if (first === 0xff && second === 0xfe) return 'utf-16le'
  if (first === 0xfe && second === 0xff) return 'utf-16be'
  return 'utf-8'
}
