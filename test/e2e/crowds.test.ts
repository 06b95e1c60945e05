// Hostile clients, many of each sort: the server's memory stays bounded, and all who mean well are served.
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  besiege,
  healthTimes,
  median,
  memoryOf,
  prepare,
  type SortName,
  socketsOf,
  sortNames,
} from '../support/crowds.ts'
import { until } from '../support/wait.ts'
import { eachTestItsWorld } from './world.ts'

const world = eachTestItsWorld()
const MiB = 2 ** 20
const MOST_BYTES = 500 * MiB
const ADDRESSES = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4']

describe('a crowd', () => {
  it.each(sortNames.map((name): [SortName, number] => [name, name.startsWith('unread') ? 100 : 200]))(
    'of %s is borne, and cut off where it reads nothing',
    { timeout: 90_000 },
    async (name, count) => {
      const { origin } = world
      const server = await world.start({ SHEAF_SLOW_READER_MS: '2000', SHEAF_DOWNLOAD_IDLE_TIMEOUT_MS: '2000' })
      const victim = await prepare(server, origin)
      const before = await memoryOf(server)
      const { health, mostBytes, goodMs } = await besiege(server, origin, victim, [name], count, ADDRESSES.slice(0, 2))
      console.log(
        name,
        Math.round(before / MiB),
        Math.round(mostBytes / MiB),
        Math.round(median(health)),
        Math.round(Math.max(...health)),
        Math.round(goodMs),
      )
      expect(mostBytes).toBeLessThan(MOST_BYTES)
      expect(median(health)).toBeLessThan(100)
    },
  )
})
void socketsOf
void connect
void sleep
void until
void healthTimes
type _ = Socket
