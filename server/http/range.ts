// Reads conditional and range headers, RFC 9110 sections 13 and 14. No I/O.

/** Both ends inclusive. */
export interface ByteRange {
  readonly first: number
  readonly last: number
}

/**
 * Returns which bytes of a representation of `sizeBytes` a Range header asks for. It is 'all' also if RFC 9110 section
 * 14.2 lets a server ignore the header: for bad syntax, other units, several ranges.
 */
export function selectRange(header: string | undefined, sizeBytes: number): 'all' | 'unsatisfiable' | ByteRange {
  const match = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(header ?? '')
  if (match === null || match[0].length > 64) return 'all'
  const [, from = '', to = ''] = match
  if (from === '') {
    if (to === '') return 'all'
    const suffix = Number(to)
    if (suffix === 0 || sizeBytes === 0) return 'unsatisfiable'
    return { first: Math.max(0, sizeBytes - suffix), last: sizeBytes - 1 }
  }
  const first = Number(from)
  const last = to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1)
  if (to !== '' && Number(to) < first) return 'all'
  return first >= sizeBytes ? 'unsatisfiable' : { first, last }
}

/** With this last position a client asks to follow a growing representation: 2^53-1, RFC 8673 section 2. */
export const FOLLOW = Number.MAX_SAFE_INTEGER

/** The position from which a client asks to follow a growing representation; null if it does not ask for that. */
export function followFrom(header: string | undefined): number | null {
  const match = /^bytes=(\d{1,15})-(\d{1,20})$/i.exec(header ?? '')
  return match !== null && Number(match[2]) >= FOLLOW ? Number(match[1]) : null
}

/** If-Range holds only for the same strong validator (13.1.5). A date never holds: an archive has none to compare. */
export function ifRangeHolds(header: string | undefined, etag: string): boolean {
  return header === undefined || header.trim() === etag
}

/** If-Match, strong comparison (13.1.1). */
export function ifMatchHolds(header: string | undefined, etag: string): boolean {
  return header === undefined || header.trim() === '*' || tagsOf(header).includes(etag)
}

/** If-None-Match, weak comparison (13.1.2): true if the client already has this representation. */
export function ifNoneMatchHits(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  return header.trim() === '*' || tagsOf(header).some((tag) => tag.replace(/^W\//, '') === etag)
}

function tagsOf(header: string): string[] {
  return header.slice(0, 4096).match(/(?:W\/)?"[^"]*"/g) ?? []
}
