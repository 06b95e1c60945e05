// Fields of HTTP messages, as both sides read them.

/** Of a field that came several times, the first one. */
export function firstValue(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}

/** Null for a weak validator, which promises nothing about bytes (RFC 9110 sections 8.8.1 and 13.1.5), and for none. */
export function strongEtag(etag: string | undefined): string | null {
  return etag !== undefined && /^"[\x21\x23-\x7e\x80-\xff]*"$/.test(etag) ? etag : null
}
