// One subscription as an iterable: its events in order, its end, and whether the connection holds.
import type { ArchiveEvent } from '../events.ts'
import { NotBegunError, UnreachableError } from './failures.ts'

export interface NumberedEvent {
  readonly id: string
  readonly event: ArchiveEvent
}

interface Observer {
  onData(message: { id: string; data: ArchiveEvent }): void
  onError(error: unknown): void
  onComplete(): void
  onConnectionStateChange(change: { state: string; error?: unknown }): void
}

/** Subscribes to what comes after the event named. */
export type Open = (lastEventId: string | null | undefined, observer: Observer) => { unsubscribe(): void }

export interface SubscriptionOptions {
  readonly signal?: AbortSignal | undefined
  /** Go on after this event. */
  readonly lastEventId?: string | null | undefined
  /** Without an event by then, or if the connection fails before the first one, it ends with a NotBegunError. */
  readonly beginWithinMs?: number | undefined
  /** A connection lost for this long ends it with an UnreachableError. */
  readonly giveUpAfterMs: number
  readonly url: string
  /** Called when the connection is lost, with a reason, and with null when it is back. */
  readonly onConnectionChange: (lost: string | null) => void
}

export async function* subscribe(open: Open, options: SubscriptionOptions): AsyncGenerator<NumberedEvent> {
  const { signal, lastEventId, beginWithinMs, giveUpAfterMs, url, onConnectionChange } = options
  const queue = new EventQueue()
  let hasBegun = beginWithinMs === undefined
  const beginTimer = hasBegun ? undefined : setTimeout(() => queue.fail(new NotBegunError()), beginWithinMs)
  let lostTimer: ReturnType<typeof setTimeout> | undefined
  let isLost = false

  const subscription = open(lastEventId, {
    onData({ id, data }) {
      hasBegun = true
      clearTimeout(beginTimer)
      onConnectionChange(null)
      queue.push({ id, event: data })
    },
    onError: (error) => queue.fail(error),
    onComplete: () => queue.end(),
    onConnectionStateChange({ state, error }) {
      if (state === 'pending') {
        clearTimeout(lostTimer)
        lostTimer = undefined
        if (isLost) onConnectionChange(null)
        isLost = false
      } else if (error) {
        if (!hasBegun) return queue.fail(new NotBegunError())
        isLost = true
        onConnectionChange('connection lost')
        if (lostTimer !== undefined || giveUpAfterMs === Infinity) return
        lostTimer = setTimeout(() => queue.fail(new UnreachableError(`no connection to ${url}`)), giveUpAfterMs)
      }
    },
  })
  try {
    yield* queue.read(signal)
  } finally {
    clearTimeout(beginTimer)
    clearTimeout(lostTimer)
    subscription.unsubscribe()
  }
}

/** Events that wait for their reader. Only the latest progress is kept; all other events stay, in order. */
export class EventQueue {
  readonly #waiting: NumberedEvent[] = []
  #end: { readonly error: unknown } | null = null
  #wake = () => {}

  push(next: NumberedEvent): void {
    if (next.event.type === 'progress' && this.#waiting.at(-1)?.event.type === 'progress') this.#waiting.pop()
    this.#waiting.push(next)
    this.#wake()
  }

  /** What waits is still read. */
  end(): void {
    this.fail(null)
  }

  /** What waits is still read; then the reader gets the error. */
  fail(error: unknown): void {
    this.#end ??= { error }
    this.#wake()
  }

  /** For one reader. Throws the signal's reason as soon as that is aborted. */
  async *read(signal?: AbortSignal): AsyncGenerator<NumberedEvent> {
    const onAbort = () => this.#wake()
    signal?.addEventListener('abort', onAbort)
    try {
      for (;;) {
        signal?.throwIfAborted()
        const next = this.#waiting.shift()
        if (next !== undefined) yield next
        else if (this.#end === null) await new Promise<void>((resolve) => (this.#wake = resolve))
        else if (this.#end.error !== null) throw this.#end.error
        else return
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }
}
