// What a tar can hold of a member, and what stands there for anything else. The one place that knows the limits of the format.

/** The latest second that archiver's tar-stream writes: it makes a 32-bit number of it. ustar itself has room until 2242. */
const MAX_SECONDS = 2 ** 31 - 1

/**
 * The date of a member, whole seconds from 1970-01-01T00:00:00Z to 2038-01-19T03:14:07Z. What lies outside is moved to the
 * nearer end, and what is no number to the beginning: an octal field has no sign, and one header that cannot be read costs
 * a reader all entries after it.
 */
export function tarDate(modifiedMs: number): Date {
  const seconds = Number.isNaN(modifiedMs) ? 0 : Math.trunc(modifiedMs / 1000)
  return new Date(Math.max(0, Math.min(seconds, MAX_SECONDS)) * 1000)
}

/** A size cannot be moved: it says where the next header stands. Beyond 8 GiB - 1 it is written in base 256. */
export function tarSize(sizeBytes: number): number {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
    throw new RangeError(`${sizeBytes} is not a size that a tar member can have`)
  return sizeBytes
}
