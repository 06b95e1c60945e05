// The error that both ports throw if they cannot work for now, though the call itself is valid.

/** The journal or the spool cannot work now. What was acknowledged stays intact. The same call may work later. */
export class UnavailableError extends Error {
  override readonly name = 'UnavailableError'
}
