// One bare websocket that watches an archive as the protocol says, and costs as little as possible.
import { WebSocket } from 'ws'
import type { ArchiveEvent } from '#contracts/events.ts'
import { isTerminal } from '#contracts/events.ts'

export interface Watcher {
  readonly events: number
  /** The first event that came twice or out of order. Null if there was none. */
  readonly trouble: string | null
  readonly failed: ReadonlySet<number>
  readonly ends: readonly ArchiveEvent[]
  /** Cuts the connection, opens another, and goes on after the last event. */
  cutAndComeBack(): Promise<void>
  close(): void
}

interface Message {
  readonly error?: unknown
  readonly result?: { readonly type: string; readonly id?: string; readonly data?: { readonly json?: unknown } }
}

export function openSocket(url: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/trpc`, { perMessageDeflate: false })
  return new Promise((resolve, reject) => {
    socket.once('open', () => {
      socket.off('error', reject).on('error', () => {})
      // tRPC's own ping, which exists beside that of the websocket.
      socket.on('message', (text: Buffer) => {
        if (String(text) === 'PING') socket.send('PONG')
      })
      resolve(socket)
    })
    socket.once('error', reject)
  })
}

export async function openWatcher(url: string, archiveKey: string): Promise<Watcher> {
  const failed = new Set<number>()
  const ends: ArchiveEvent[] = []
  let events = 0
  let lastEventId: string | null = null
  let trouble: string | null = null
  let socket: WebSocket | null = null
  await begin()

  async function begin(): Promise<void> {
    const opened = await openSocket(url)
    socket = opened
    opened.on('message', (text: Buffer) => {
      // A socket that was cut may still deliver a message, which is ignored.
      if (opened === socket && String(text) !== 'PING') take(JSON.parse(text.toString()) as Message)
    })
    const input = { json: { archiveKey, lastEventId } }
    opened.send(JSON.stringify({ id: 1, method: 'subscription', params: { path: 'watchArchive', input } }))
  }

  function take({ error, result }: Message): void {
    if (error !== undefined) trouble ??= JSON.stringify(error)
    if (result?.type !== 'data') return
    const { id, data } = result.data!.json as { id?: string; data?: ArchiveEvent }
    const [cursor, event] = [id ?? result.id!, data ?? (result.data!.json as ArchiveEvent)]
    events++
    if (Number(cursor) < Number(lastEventId ?? 0))
      trouble ??= `${event.type} goes back from ${lastEventId} to ${cursor}`
    lastEventId = cursor
    if (ends.length > 0) trouble ??= `${event.type} after the end`
    if (isTerminal(event)) ends.push(event)
    if (event.type !== 'file-failed') return
    if (failed.has(event.index)) trouble ??= `the failure of ${event.index} is told again`
    failed.add(event.index)
  }

  return {
    get events() {
      return events
    },
    get trouble() {
      return trouble
    },
    failed,
    ends,
    async cutAndComeBack() {
      socket?.terminate()
      await begin()
    },
    close: () => socket?.close(),
  }
}
