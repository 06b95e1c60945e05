// One run of some work for all that ask for it meanwhile: whoever asks while it runs is served by the next run.

/** The result resolves once a run is over that began after the call; it rejects if that run did. */
export function groupCommit(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null
  let next: Promise<void> | null = null

  async function run(): Promise<void> {
    await running?.catch(() => {})
    running = next
    next = null
    await work().finally(() => {
      running = null
    })
  }

  return () => {
    next ??= run()
    return next
  }
}
