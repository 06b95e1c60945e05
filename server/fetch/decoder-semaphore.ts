// A fair counting semaphore that bounds how many bodies are decoded at a time, because each window takes megabytes.
import { leavesRoom } from '../lib/quota.ts'

export interface PermitRequest {
  /** How many permits the body needs; at least one. */
  readonly count: number
  /** The lane of the body's entry. Permits are shared between lanes. */
  readonly lane: object
  /** True if the encoded body has come whole, so that a slow origin cannot delay the return of its permits. */
  readonly isWhole: boolean
  readonly granted: () => void
}

export interface DecoderSemaphore {
  /** True while a request waits. */
  readonly isContended: boolean
  /** Calls `granted` once the permits are free, perhaps at once. The result gives them back, or ends the wait. */
  acquire(request: PermitRequest): () => void
}

export interface DecoderSemaphoreOptions {
  /** All permits. Measured: a decoder of br takes up to 16 MiB, one of zstd 8 MiB. @default 8 */
  max?: number
  /**
   * Permits for bodies that are still on their way.
   * @default 5, which leaves three for whole bodies; none needs more
   */
  maxOpen?: number
}

interface Turn {
  readonly request: PermitRequest
  /** The permits that its lane holds. */
  readonly own: number
}

/**
 * The next turn goes to the lane that holds the fewest permits, then to the request that came first. No lane can hold
 * so many of the permits for bodies on their way that a new lane finds none.
 */
export function createDecoderSemaphore({ max = 8, maxOpen = 5 }: DecoderSemaphoreOptions = {}): DecoderSemaphore {
  const waiting = new Set<PermitRequest>()
  const held = new Set<PermitRequest>()

  function used(counts: (request: PermitRequest) => boolean): number {
    let permits = 0
    for (const request of held) if (counts(request)) permits += request.count
    return permits
  }

  function fits({ count, lane, isWhole }: PermitRequest): boolean {
    if (used(() => true) + count > max) return false
    if (isWhole) return true
    const open = used((request) => !request.isWhole) + count
    const own = used((request) => !request.isWhole && request.lane === lane)
    return open <= maxOpen && (own === 0 || leavesRoom(own + count - 1, open - 1, maxOpen))
  }

  /**
   * The next request among the whole bodies, or among those on their way. No request overtakes one whose lane holds
   * nothing yet.
   */
  function firstOf(isWholeQueue: boolean): Turn | null {
    const queue = [...waiting]
      .filter(({ isWhole }) => isWhole === isWholeQueue)
      .map((request) => ({ request, own: used(({ lane }) => lane === request.lane) }))
      .sort((a, b) => a.own - b.own)
    const first = queue.find(({ request, own }) => own === 0 || fits(request))
    return first !== undefined && fits(first.request) ? first : null
  }

  function nextInTurn(): PermitRequest | null {
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
    acquire(request) {
      waiting.add(request)
      grant()
      return () => {
        if (waiting.delete(request) || held.delete(request)) grant()
      }
    },
  }
}
