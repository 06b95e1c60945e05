// The error that both ports throw if there is no space left to write.

/** There is no space, or a quota is reached. What was written before stays intact. */
export class NoSpaceError extends Error {
  override readonly name = 'NoSpaceError'
}

/** Runs the action. If there is no space for it, makes room and runs it once more. */
export async function makingRoom(action: () => Promise<void>, makeRoom: () => Promise<void>): Promise<void> {
  try {
    await action()
  } catch (error) {
    if (!(error instanceof NoSpaceError)) throw error
    await makeRoom()
    await action()
  }
}
