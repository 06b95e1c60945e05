// Decides who is next among many that wait. Clients take turns, and so do the archives of each client.

export interface Rota<T> {
  add(client: string, archive: string, item: T): void
  /** Removes an item that no longer waits. */
  remove(client: string, archive: string, item: T): void
  /** Takes the next item out; undefined if none waits. */
  next(): T | undefined
}

/** The items of one archive keep their order. Each step costs the same, however many items wait. */
export function createRota<T>(): Rota<T> {
  /** Clients, and the archives of each, in the order of their next turn. */
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
