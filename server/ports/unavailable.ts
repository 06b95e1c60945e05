// What both ports throw when they cannot do their work for now, though nothing is wrong with what was asked.

/** The journal or the spool cannot now. Nothing that was acknowledged before is harmed; the same may work later. */
export class UnavailableError extends Error {
  override readonly name = 'UnavailableError'
}
