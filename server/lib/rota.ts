// Who is next of many that wait: clients take turns, and so do the archives of each, whatever number of them waits.

export interface Rota<T> {
  add(client: string, archive: string, item: T): void
  /** It does not wait any more. */
  remove(client: string, archive: string, item: T): void
  /** Takes the next one out; undefined if nobody waits. */
  next(): T | undefined
}

/** Of one archive whoever came first is first. Each step costs the same, however many wait. */
export function createRota<T>(): Rota<T> {
  /** Both in the order of their next turn. */
  const clients = new Map<string, Map<string, Set<T>>>()

  function comeLast(client: string, archive: string): void {
    const archives = clients.get(client)!
    const items = archives.get(archive)!
    archives.delete(archive)
    if (items.size > 0) archives.set(archive, items)
    clients.delete(client)
    if (archives.size > 0) clients.set(client, archives)
  }

  return {
    add(client, archive, item) {
      const archives = clients.get(client) ?? new Map<string, Set<T>>()
      clients.set(client, archives)
      const items = archives.get(archive) ?? new Set<T>()
      archives.set(archive, items)
      items.add(item)
    },
    remove(client, archive, item) {
      const items = clients.get(client)?.get(archive)
      if (items?.delete(item) && items.size === 0) comeLast(client, archive)
    },
    next() {
      for (const [client, archives] of clients) {
        for (const [archive, items] of archives) {
          for (const item of items) {
            items.delete(item)
            comeLast(client, archive)
            return item
          }
        }
      }
      return undefined
    },
  }
}
