// Turns a subscription into an iterable of its events, in order, and reports if its connection is lost.
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

/** Subscribes to the events after `lastEventId`. */
export type Open = (lastEventId: string | null | undefined, observer: Observer) => { unsubscribe(): void }

export interface SubscriptionOptions {
  readonly signal?: AbortSignal | undefined
  /** Goes on after this event. */
  readonly lastEventId?: string | null | undefined
  /** Throws a NotBegunError if no event comes within this time, or if the connection fails before the first one. */
  readonly beginWithinMs?: number | undefined
  /** Throws an UnreachableError if the connection is lost for this long. */
  readonly giveUpAfterMs: number
  readonly url: string
  /** Called with a reason when the connection is lost, and with null when it is back. */
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

/** Events that wait for their reader, in order. If progress events follow each other, only the last is kept. */
export class EventQueue {
  readonly #waiting: NumberedEvent[] = []
  #end: { readonly error: unknown } | null = null
  #wake = () => {}

  push(next: NumberedEvent): void {
    if (next.event.type === 'progress' && this.#waiting.at(-1)?.event.type === 'progress') this.#waiting.pop()
    this.#waiting.push(next)
    this.#wake()
  }

  /** The reader still gets the waiting events. */
  end(): void {
    this.fail(null)
  }

  /** The reader still gets the waiting events, then the error. */
  fail(error: unknown): void {
    this.#end ??= { error }
    this.#wake()
  }

  /** Call it once: there is one reader. Throws the signal's reason as soon as the signal is aborted. */
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
