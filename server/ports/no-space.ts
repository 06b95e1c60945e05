// What both ports throw where there is nowhere left to write.

/** No space, or a quota is reached. Nothing that was written before is harmed. */
export class NoSpaceError extends Error {
  override readonly name = 'NoSpaceError'
}
