// Reads fields of HTTP messages, for server and clients.

/** The first value of a field that may have come several times. */
export function firstValue(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}

/** Null if there is no ETag, or a weak one, which promises nothing about bytes (RFC 9110 sections 8.8.1 and 13.1.5). */
export function strongEtag(etag: string | undefined): string | null {
  return etag !== undefined && /^"[\x21\x23-\x7e\x80-\xff]*"$/.test(etag) ? etag : null
}
