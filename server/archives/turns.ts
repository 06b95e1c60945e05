// Orders waiting archives so that a client with many of them does not delay the others. No I/O.

export interface Waiting {
  readonly client: string
}

/**
 * Keeps the order of arrival within a client, and takes turns between clients. The n-th archive of a client comes after every
 * client's archive n - 1. Running archives count as the first ones of their client.
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
