// What both ports throw if there is nowhere left to write.

/** No space, or a quota is reached. Nothing that was written before is harmed. */
export class NoSpaceError extends Error {
  override readonly name = 'NoSpaceError'
}

/** Does it; if there is no space for that, makes room and does it again. */
export async function makingRoom(action: () => Promise<void>, makeRoom: () => Promise<void>): Promise<void> {
  try {
    await action()
  } catch (error) {
    if (!(error instanceof NoSpaceError)) throw error
    await makeRoom()
    await action()
  }
}
