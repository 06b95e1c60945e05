// The same responses give the same bytes, in whatever order they come, after any retries, and wherever bodies waited.
import { expect, it } from 'vitest'
import { newArchiveKey } from '#contracts/client.ts'
import { createRandom } from '../../client-node/cli/stress-plan.ts'
import { ask } from '../support/ask.ts'
import { bytes, chunked, delayed, resetAfter, sequence, status } from '../support/behaviours.ts'
import type { Behaviour } from '../support/exchange.ts'
import { bodyOf } from '../support/origin.ts'
import { completed, eachTestItsWorld, spooled, watch } from './world.ts'

const world = eachTestItsWorld()

const ENTRIES = 200
const KiB = 1024
const bodies = Array.from({ length: ENTRIES }, (_, n) => {
  if (n % 50 === 49) return bodyOf(2_200 * KiB, n)
  return bodyOf(n % 9 === 8 ? 150 * KiB : (n * 997) % (20 * KiB), n)
})
/** Bodies that are too large to wait in memory, so they are in parts in every run. */
const largeBodies = bodies.filter(({ length }) => length > 2 ** 21).length

/** The n-th answer of a run. Retries differ between runs, but the same entries fail for good in all. */
function answerOf(n: number, draw: number): Behaviour {
  const body = bodies[n]!
  if (n % 20 === 7) return status(404)
  const whole = n % 3 === 1 ? chunked(body) : bytes(body)
  if (draw < 0.08) return sequence(status(500), whole)
  if (draw < 0.16 && body.length > 1_000) return sequence(resetAfter(body.length >> 1, { body }), whole)
  return whole
}

function shuffled(random: () => number): number[] {
  const places = Array.from({ length: ENTRIES }, (_, n) => n)
  for (let n = ENTRIES - 1; n > 0; n--) {
    const other = Math.floor(random() * (n + 1))
    ;[places[n], places[other]] = [places[other]!, places[n]!]
  }
  return places
}

it.each(['zip', 'tar'] as const)(
  'makes the same %s of 200 answers in any order',
  async (format) => {
    const { origin } = world
    const settings = { SHEAF_STAGING_BYTES: String(1024 * KiB), SHEAF_MAX_FETCHES_PER_ORIGIN: '96' }
    const server = await world.start(settings)
    const connection = world.client(server.url)
    const archives: Buffer[] = []
    const orders: string[] = []
    const parts: number[] = []
    const asked: number[] = []
    for (const seed of [1, 2, 3]) {
      const random = createRandom(seed)
      const delays = shuffled(random)
      const order: number[] = []
      const entries = delays.map((place, n) => {
        const answer = delayed(place * 2, answerOf(n, random()))
        // Names come from the last segment of the path, so they are the same in every run.
        return origin.serve(`/${seed}/${n}.bin`, async (exchange) => {
          await answer(exchange)
          order.push(n)
        })
      })
      const before = origin.requests.length
      const { end } = watch(connection.createArchive({ archiveKey: newArchiveKey(), entries, format }))
      const { href, sealedEntries, failedEntries } = await completed(end)
      expect([sealedEntries, failedEntries]).toEqual([190, 10])
      archives.push((await ask(server.url + href)).body)
      orders.push(order.join())
      asked.push(origin.requests.length - before)
      // The folder and the log are not parts.
      parts.push((await spooled(server)).filter((path) => href.includes(path.split('/part-')[0]!)).length - 2)
    }
    expect(archives[1]!.equals(archives[0]!)).toBe(true)
    expect(archives[2]!.equals(archives[0]!)).toBe(true)
    // The runs really differed.
    expect(new Set(orders).size).toBe(3)
    for (const requests of asked) expect(requests).toBeGreaterThan(ENTRIES)
    expect(new Set(asked).size).toBeGreaterThan(1)
    for (const spilt of parts) {
      expect(spilt).toBeGreaterThan(largeBodies)
      expect(spilt).toBeLessThan(190)
    }
  },
  60_000,
)
