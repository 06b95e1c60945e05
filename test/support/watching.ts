// Watches an archive in the background. A test can read the events so far, wait for one event, or wait for the end.
import type { ArchiveEvent, CompleteEvent } from '#contracts/events.ts'
import { until } from './wait.ts'

export interface Watched {
  readonly told: readonly ArchiveEvent[]
  /** Resolves to the terminal event. */
  readonly end: Promise<ArchiveEvent>
  /** Resolves to the first event of this type for which `passes` is true. */
  first<T extends ArchiveEvent['type']>(
    type: T,
    passes?: (event: Extract<ArchiveEvent, { type: T }>) => boolean,
  ): Promise<Extract<ArchiveEvent, { type: T }>>
}

export function watch(events: AsyncIterable<ArchiveEvent>): Watched {
  const told: ArchiveEvent[] = []
  const end = (async () => {
    for await (const event of events) told.push(event)
    return told.at(-1)!
  })()
  end.catch(() => {})
  return {
    told,
    end,
    first: (type, passes = () => true) =>
      until(() => told.find((event) => event.type === type && passes(event as never)) as never, {
        what: `an event ${type}`,
      }),
  }
}

export async function completed(end: Promise<ArchiveEvent>): Promise<CompleteEvent> {
  const event = await end
  if (event.type !== 'complete') throw new Error(`ended as ${JSON.stringify(event)}`)
  return event
}
