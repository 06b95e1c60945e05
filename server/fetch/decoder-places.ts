// Who may decode now: few at a time, as their windows take megabytes. No peer can keep a place for as long as it likes.
import { leavesRoom } from '../lib/quota.ts'

export interface PlaceRequest {
  /** At least one. */
  readonly count: number
  /** Whose body it is: places are shared between these. */
  readonly lane: object
  /** The encoded body is here: the place is given back however slow its origin is. */
  readonly isWhole: boolean
  readonly granted: () => void
}

export interface DecoderPlaces {
  /** Somebody waits. */
  readonly isContended: boolean
  /** Calls `granted` once the places are free, perhaps at once; what it returns gives them back, or ends the wait. */
  take(request: PlaceRequest): () => void
}

export interface DecoderPlacesOptions {
  /** Measured: br takes up to 16 MiB, zstd 8 MiB each. @default 8 */
  max?: number
  /** Of these, for bodies that are still on their way. @default 5, so that whole ones find three, which is all one can need */
  maxOpen?: number
}

interface Turn {
  readonly request: PlaceRequest
  /** Places of its lane. */
  readonly own: number
}

/**
 * Whoever holds fewest has the next turn, then whoever came first. Of the places for bodies on their way nobody has so many
 * that a newcomer finds none.
 */
export function createDecoderPlaces({ max = 8, maxOpen = 5 }: DecoderPlacesOptions = {}): DecoderPlaces {
  const waiting = new Set<PlaceRequest>()
  const held = new Set<PlaceRequest>()

  function used(counts: (request: PlaceRequest) => boolean): number {
    let places = 0
    for (const request of held) if (counts(request)) places += request.count
    return places
  }

  function fits({ count, lane, isWhole }: PlaceRequest): boolean {
    if (used(() => true) + count > max) return false
    if (isWhole) return true
    const open = used((request) => !request.isWhole) + count
    const own = used((request) => !request.isWhole && request.lane === lane)
    return open <= maxOpen && (own === 0 || leavesRoom(own + count - 1, open - 1, maxOpen))
  }

  /** In the row of whole bodies, or of those on their way. Nobody overtakes there somebody who has nothing yet. */
  function firstOf(isWholeRow: boolean): Turn | null {
    const row = [...waiting]
      .filter(({ isWhole }) => isWhole === isWholeRow)
      .map((request) => ({ request, own: used(({ lane }) => lane === request.lane) }))
      .sort((a, b) => a.own - b.own)
    const first = row.find(({ request, own }) => own === 0 || fits(request))
    return first !== undefined && fits(first.request) ? first : null
  }

  function nextInTurn(): PlaceRequest | null {
    const [whole, open] = [firstOf(true), firstOf(false)]
    if (whole === null || open === null) return (whole ?? open)?.request ?? null
    return (whole.own <= open.own ? whole : open).request
  }

  function grant(): void {
    while (waiting.size > 0) {
      const next = nextInTurn()
      if (next === null) return
      waiting.delete(next)
      held.add(next)
      next.granted()
    }
  }

  return {
    get isContended() {
      return waiting.size > 0
    },
    take(request) {
      waiting.add(request)
      grant()
      return () => {
        if (waiting.delete(request) || held.delete(request)) grant()
      }
    },
  }
}
