// Fits dates and sizes to what a tar can hold. It is the only place that knows the limits of the format.

/** The latest second that archiver's tar-stream can write, because it uses a 32-bit number. ustar has room until 2242. */
const MAX_SECONDS = 2 ** 31 - 1

/**
 * Returns the date of a member, in whole seconds from 1970-01-01T00:00:00Z to 2038-01-19T03:14:07Z. A date outside is moved to
 * the nearer end, and NaN to the beginning. The octal field has no sign, and a reader that cannot read one header loses all
 * entries after it.
 */
export function tarDate(modifiedMs: number): Date {
  const seconds = Number.isNaN(modifiedMs) ? 0 : Math.trunc(modifiedMs / 1000)
  return new Date(Math.max(0, Math.min(seconds, MAX_SECONDS)) * 1000)
}

/** Checks a size. It cannot be moved, because it decides where the next header stands. Beyond 8 GiB - 1 it is in base 256. */
export function tarSize(sizeBytes: number): number {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
    throw new RangeError(`${sizeBytes} is not a size that a tar member can have`)
  return sizeBytes
}
