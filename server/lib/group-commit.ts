// Combines calls for the same work: all calls that come while a run is under way share the next run.

/** Each call resolves when a run has ended that began after the call. It rejects if that run failed. */
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
