// Maps SQLite's result codes to the ports' errors, see https://www.sqlite.org/rescode.html.
import { NoSpaceError } from '../../ports/no-space.ts'
import { UnavailableError } from '../../ports/unavailable.ts'

/** The primary result code, which is the low byte of an extended one. Null if the error is not from SQLite. */
const resultCode = (error: unknown) => {
  const code = (error as { errcode?: number } | null)?.errcode
  return code === undefined ? null : code & 0xff
}

/** SQLITE_ERROR, INTERNAL, CONSTRAINT, MISMATCH, MISUSE, RANGE: mistakes in a statement, which a retry does not fix. */
const MISTAKES: ReadonlySet<number> = new Set([1, 2, 19, 20, 21, 25])

/** SQLITE_BUSY, SQLITE_LOCKED. */
export const isLocked = (error: unknown) => [5, 6].includes(resultCode(error) ?? 0)
/** SQLITE_CORRUPT, SQLITE_NOTADB. */
export const isDamaged = (error: unknown) => [11, 26].includes(resultCode(error) ?? 0)
/** SQLITE_CONSTRAINT. */
export const isConstraint = (error: unknown) => resultCode(error) === 19
/** SQLITE_FULL. */
const isFull = (error: unknown) => resultCode(error) === 13

/** Translates an error of SQLite into the ports' error types. Returns any other error as it is. */
export function portError(error: unknown): unknown {
  const code = resultCode(error)
  if (code === null || MISTAKES.has(code)) return error
  if (isFull(error)) return new NoSpaceError('no space left for the journal', { cause: error })
  return new UnavailableError(`the journal cannot: ${(error as Error).message}`, { cause: error })
}
