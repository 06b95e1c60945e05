// Fetches over sockets that are killed, paused and reused. It keeps each chunk for a while before it checks its bytes.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import type { FetchDispatcher } from '../../server/fetch/dispatcher.ts'
import type { Lease } from '../../server/lib/blocks.ts'
import { bodyOf, bytes, chunked, finAfter, resetAfter } from './behaviours.ts'
import type { Behaviour } from './exchange.ts'
import type { Origin } from './origin.ts'

export type Wire = Pick<FetchDispatcher, 'dispatch' | 'hold'>

export interface Fire {
  readonly whole: number
  readonly killed: number
  readonly aborted: number
  /** Chunks that lay in slabs. */
  readonly leased: number
  /** Chunks that lay in ordinary memory. */
  readonly ordinary: number
}

const SIZES = [700, 10_240, 65_536, 300_000, 2 * 2 ** 20]
const SEEDS = 3
const HEADER = 'v'.repeat(12_000)
/** Long enough that a slab which is reused too early is overwritten before the check. */
const KEPT_MS = 30

type Kind = 'bytes' | 'chunked' | 'fin' | 'reset' | 'trickle'

interface Plan {
  readonly url: string
  readonly kind: Kind
  readonly body: Buffer
  readonly pauses: boolean
  readonly keeps: boolean
  /** The consumer aborts after this many bytes. */
  readonly abortAt: number
}

/** Fetches `count` bodies at once and counts their ends. Throws at the first byte that differs from what was sent. */
export async function fetchUnderFire(
  wire: Wire,
  origin: Origin,
  count: number,
  random: () => number = Math.random,
): Promise<Fire> {
  const fire = { whole: 0, killed: 0, aborted: 0, leased: 0, ordinary: 0 }
  const bodies = SIZES.flatMap((size) => Array.from({ length: SEEDS }, (_, seed) => bodyOf(size, seed)))
  const urls = bodies.map((body, n) => serveAll(origin, body, n))
  const plans = Array.from({ length: count }, (): Plan => {
    const n = Math.floor(random() * bodies.length)
    const draw = random()
    const kind: Kind =
      draw < 0.6 ? 'bytes' : draw < 0.75 ? 'chunked' : draw < 0.82 ? 'fin' : draw < 0.9 ? 'reset' : 'trickle'
    const body = bodies[n]!
    const abortAt = kind === 'bytes' && body.length > 100_000 && random() < 0.1 ? body.length / 2 : Infinity
    return { url: urls[n]![kind], kind, body, abortAt, pauses: random() < 0.25, keeps: random() < 0.3 }
  })
  await Promise.all(plans.map((plan) => fetchOne(wire, plan, fire)))
  return fire
}

function serveAll(origin: Origin, body: Buffer, n: number): Record<Kind, string> {
  const half = body.length >> 1
  return {
    bytes: origin.serve(`/fire/bytes/${n}`, bytes(body)),
    chunked: origin.serve(`/fire/chunked/${n}`, chunked(body)),
    fin: origin.serve(`/fire/fin/${n}`, finAfter(half, { body })),
    reset: origin.serve(`/fire/reset/${n}`, resetAfter(half, { body })),
    trickle: origin.serve(`/fire/trickle/${n}`, trickled(body)),
  }
}

/** Sends header fields in pieces. undici keeps views of them until the last one has come. */
function trickled(body: Buffer): Behaviour {
  const head = `HTTP/1.1 200 OK\r\nX-Long: ${HEADER}\r\nContent-Length: ${body.length}\r\n\r\n`
  return async ({ write, pause }) => {
    for (let at = 0; at < head.length; at += 3_000) {
      await write(head.slice(at, at + 3_000))
      await pause(5)
    }
    await write(body)
  }
}

function fetchOne(wire: Wire, plan: Plan, fire: { -readonly [K in keyof Fire]: Fire[K] }): Promise<void> {
  const { kind, body, abortAt, pauses, keeps } = plan
  const { origin, pathname } = new URL(plan.url)
  const held: { chunk: Buffer; lease: Lease | null }[] = []
  let received = 0

  function look(): void {
    let at = 0
    for (const { chunk, lease } of held.splice(0)) {
      const isRight = chunk.equals(body.subarray(at, at + chunk.length))
      at += chunk.length
      lease?.release()
      if (!isRight) throw new Error(`${pathname}: bytes before ${at} of ${body.length} are not as they were sent`)
    }
  }

  return new Promise<void>((resolve, reject) => {
    async function end(error: Error | null): Promise<void> {
      if (keeps) await sleep(KEPT_MS)
      look()
      if (error === null) {
        if (received !== body.length || kind === 'fin' || kind === 'reset') throw new Error(`${pathname} ended whole`)
        fire.whole++
      } else if (abortAt < body.length) fire.aborted++
      else if (kind === 'fin' || kind === 'reset') fire.killed++
      else throw error
    }
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart() {},
      onResponseStart(_controller, _status, headers) {
        if (kind === 'trickle' && headers['x-long'] !== HEADER)
          reject(new Error(`${pathname}: a header was overwritten`))
      },
      onResponseData(controller, chunk) {
        const lease = wire.hold(chunk)
        if (lease === null) fire.ordinary++
        else fire.leased++
        held.push({ chunk, lease })
        received += chunk.length
        if (received > abortAt) controller.abort(new Error('not wanted any more'))
        else if (pauses && held.length % 3 === 0) {
          controller.pause()
          setTimeout(() => controller.resume(), 3)
        }
      },
      onResponseEnd: () => void end(null).then(resolve, reject),
      onResponseError: (_controller, error) => void end(error).then(resolve, reject),
    }
    wire.dispatch({ origin, path: pathname, method: 'GET' }, handler)
  })
}
