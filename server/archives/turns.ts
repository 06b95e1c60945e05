// In what order waiting archives get their turn, so that no client keeps the others waiting. No I/O.

export interface Waiting {
  readonly client: string
}

/**
 * Arrival order within a client, turns between clients: a client's n-th archive, those it has running counted, waits for
 * everybody's n-1st.
 */
export function fairOrder<W extends Waiting>(waiting: readonly W[], running: readonly Waiting[]): W[] {
  const counts = new Map<string, number>()
  const next = (client: string): number => {
    const count = counts.get(client) ?? 0
    counts.set(client, count + 1)
    return count
  }
  for (const { client } of running) next(client)
  const ranked = waiting.map((one) => ({ one, rank: next(one.client) }))
  return ranked.sort((a, b) => a.rank - b.rank).map(({ one }) => one)
}
