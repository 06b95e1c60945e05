// What is known of origins, for all archives of the process: how much each is asked, and what the operator has set for it.
import { type Clock, systemClock } from '../../lib/clock.ts'
import { OriginPace } from './pace.ts'
import { type OriginRule, ruleFor } from './rules.ts'

export interface Origins {
  paceOf(origin: string): OriginPace
  /** Nothing waits or is under way at this origin any more: if it is healthy, it is forgotten. */
  left(origin: string): void
  /** What the operator has set for the host of this URL; null if nothing. */
  ruleFor(url: URL): OriginRule | null
}

export interface OriginsOptions {
  /** @default none */
  rules?: readonly OriginRule[]
  /** Longest time that an entry can wait. @default no limit */
  maxWaitMs?: number
  clock?: Pick<Clock, 'monotonicMs'>
}

/** Origins that are remembered, some 300 bytes each. Beyond, the one that was met first is forgotten. */
const MAX_ORIGINS = 10_000

export function createOrigins({ rules = [], maxWaitMs, clock = systemClock }: OriginsOptions = {}): Origins {
  const paces = new Map<string, OriginPace>()

  function open(origin: string): OriginPace {
    const rule = rules.length === 0 ? null : ruleFor(new URL(origin), rules)
    const pace = new OriginPace({ ...rule, maxWaitMs })
    paces.set(origin, pace)
    if (paces.size > MAX_ORIGINS) paces.delete(paces.keys().next().value!)
    return pace
  }

  return {
    paceOf: (origin) => paces.get(origin) ?? open(origin),
    left(origin) {
      if (paces.get(origin)?.isHealthy(clock.monotonicMs())) paces.delete(origin)
    },
    ruleFor: (url) => (rules.length === 0 ? null : ruleFor(url, rules)),
  }
}
