// Pooled sockets against a real origin: every byte is right while sockets die and pause, every slab comes back, memory is bounded.
import { Agent } from 'undici'
import { describe, expect, it } from 'vitest'
import { createDispatcher } from '../../../server/fetch/dispatcher.ts'
import { findSlabFault } from '../../../server/fetch/slab-check.ts'
import { createSlabPool, type SlabPool, type SlabPoolOptions } from '../../../server/fetch/slabs.ts'
import type { Lease } from '../../../server/lib/blocks.ts'
import * as behave from '../../support/behaviours.ts'
import { openDispatcher, startFetching } from '../../support/fetching.ts'
import { bodyOf, type Origin, startOrigin } from '../../support/origin.ts'
import { fetchUnderFire, type Wire } from '../../support/sockets-under-fire.ts'
import { until } from '../../support/wait.ts'

const SLAB_BYTES = 64 * 1024

interface PooledWire extends Wire, AsyncDisposable {
  readonly pool: SlabPool
  close(): Promise<void>
}

/** The slabs are small, so that they are reused often. */
function openWire(options: SlabPoolOptions = {}, ca?: string): PooledWire {
  const pool = createSlabPool({ slabBytes: SLAB_BYTES, ...options })
  const agent = new Agent({
    connections: 8,
    pipelining: 1,
    allowH2: false,
    connect: (target, callback) => pool.connect(ca === undefined ? {} : { ca }, target, callback),
  })
  const close = () => agent.destroy()
  return {
    pool,
    hold: (chunk) => pool.hold(chunk),
    dispatch: (request, handler) => agent.dispatch(request, handler),
    close,
    async [Symbol.asyncDispose]() {
      await close()
      pool[Symbol.dispose]()
    },
  }
}

/** Resolves to the body. `look` gets each chunk first, and takes over its lease if it returns true. */
function fetchBody(
  wire: Wire,
  url: string,
  look: (chunk: Buffer, lease: Lease | null, pauseFor: (ms: number) => void) => boolean | undefined = () => false,
): Promise<Buffer> {
  const { origin, pathname } = new URL(url)
  const copies: Buffer[] = []
  return new Promise((resolve, reject) => {
    wire.dispatch(
      { origin, path: pathname, method: 'GET' },
      {
        onRequestStart() {},
        onResponseStart() {},
        onResponseData(controller, chunk) {
          const lease = wire.hold(chunk)
          copies.push(Buffer.from(chunk))
          const pauseFor = (ms: number) => {
            controller.pause()
            setTimeout(() => controller.resume(), ms)
          }
          if (!look(chunk, lease, pauseFor)) lease?.release()
        },
        onResponseEnd: () => resolve(Buffer.concat(copies)),
        onResponseError: (_, error) => reject(error),
      },
    )
  })
}

describe('pooled sockets', () => {
  it.each([
    ['http', undefined],
    ['https', 'trusted'],
  ] as const)(
    'over %s deliver every byte right while others die, pause and are aborted, and give every slab back',
    async (_, tls) => {
      await using origin: Origin = await startOrigin(tls ? { tls } : {})
      await using wire = openWire({}, origin.ca)
      const fire = await fetchUnderFire(wire, origin, 200, fixedDraws(7))
      expect(fire.whole).toBeGreaterThan(100)
      expect([fire.killed > 0, fire.aborted > 0]).toEqual([true, true])
      expect(fire.leased).toBeGreaterThan(fire.ordinary)
      await wire.close()
      await until(() => wire.pool.live === 0, { what: 'every slab to be back' })
      expect(wire.pool.orphans).toBe(0)
      expect(wire.pool.free).toBeGreaterThan(0)
    },
  )

  it('serve one request after the other on the same connection', async () => {
    await using origin = await startOrigin()
    await using wire = openWire()
    const body = bodyOf(300_000, 'again')
    const url = origin.serve('/again', behave.bytes(body))
    let most = 0
    for (let n = 0; n < 20; n++) {
      expect((await fetchBody(wire, url)).equals(body)).toBe(true)
      most = Math.max(most, origin.openSockets)
    }
    // A request that is made while the previous one ends may open a second connection.
    expect(most).toBeLessThanOrEqual(2)
  })

  it('deliver the last bytes of a body that ends with its connection', async () => {
    await using origin = await startOrigin({ tls: 'trusted' })
    await using wire = openWire({}, origin.ca)
    const body = bodyOf(100_000, 'until the end')
    const url = origin.serve('/until-closed', async ({ write, close }) => {
      await write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n', body)
      close()
    })
    for (let n = 0; n < 10; n++) expect((await fetchBody(wire, url)).equals(body)).toBe(true)
  })

  it('stop reading while their body is paused', async () => {
    await using origin = await startOrigin()
    await using wire = openWire()
    const body = bodyOf(8_000_000, 'paused')
    let most = 0
    let chunks = 0
    const fetched = await fetchBody(wire, origin.serve('/paused', behave.bytes(body)), (_chunk, _lease, pauseFor) => {
      most = Math.max(most, wire.pool.live)
      if (chunks++ === 10) pauseFor(300)
      return false
    })
    expect(fetched.equals(body)).toBe(true)
    expect(most).toBeLessThan(6)
  })

  it('read into ordinary memory when all slabs are in use, and lose nothing', async () => {
    await using origin = await startOrigin()
    await using wire = openWire({ maxBytes: 4 * SLAB_BYTES })
    const body = bodyOf(4_000_000, 'more than there is')
    const leases: Lease[] = []
    let ordinary = 0
    const fetched = await fetchBody(wire, origin.serve('/much', behave.bytes(body)), (_chunk, lease) => {
      expect(wire.pool.live).toBeLessThanOrEqual(4)
      if (lease === null) ordinary++
      else leases.push(lease)
      return true
    })
    expect(fetched.equals(body)).toBe(true)
    expect(ordinary).toBeGreaterThan(10)
    for (const lease of leases) lease.release()
    await wire.close()
    await until(() => wire.pool.live === 0, { what: 'every slab to be back' })
  })

  it('leave a slab to the garbage collector if nothing proves that it was parsed', async () => {
    await using origin = await startOrigin()
    await using wire = openWire()
    const url = origin.serve('/interim', async ({ write }) => {
      for (let n = 0; n < 40; n++)
        await write(`HTTP/1.1 103 Early Hints\r\nX-Hint: ${'h'.repeat(100)}\r\n\r\n`.repeat(200))
      await write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')
    })
    expect((await fetchBody(wire, url)).toString()).toBe('hello')
    expect(wire.pool.orphans).toBeGreaterThan(0)
    await wire.close()
    await until(() => wire.pool.live === 0, { what: 'every slab to be back' })
  })

  it('connect to a name with several addresses of which only one answers', async () => {
    await using origin = await startOrigin()
    const addresses = [
      { address: '127.0.0.77', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ]
    await using fetching = startFetching({ resolve: (_name, _options, callback) => callback(null, addresses) })
    const url = origin.serve('/by-name', behave.bytes(bodyOf(900_000, 'by name')))
    const { body, outcome } = await fetching.fetch(url.replace('127.0.0.1', 'origin.test'))
    expect(outcome.ok).toBe(true)
    expect(body.equals(bodyOf(900_000, 'by name'))).toBe(true)
    await fetching.cutOff()
    await until(() => fetching.dispatcher.slabs?.live === 0, { what: 'every slab to be back' })
  })
})

describe('the pool', () => {
  it('gives no lease for ordinary memory, and throws at a second release of a lease', async () => {
    await using origin = await startOrigin()
    await using wire = openWire()
    expect(wire.hold(Buffer.from('ordinary'))).toBeNull()
    const taken: Lease[] = []
    await fetchBody(wire, origin.serve('/some', behave.bytes(bodyOf(300_000, 'some'))), (_chunk, lease) => {
      if (lease !== null) taken.push(lease)
      return true
    })
    expect(taken.length).toBeGreaterThan(0)
    for (const lease of taken) lease.release()
    expect(() => taken[0]!.release()).toThrow('twice')
  })

  it('frees slabs that nobody needs', async () => {
    await using origin = await startOrigin()
    await using wire = openWire({ idleMs: 20 })
    const chunks: Buffer[] = []
    const leases: Lease[] = []
    await fetchBody(wire, origin.serve('/once', behave.bytes(bodyOf(2_000_000, 'once'))), (chunk, lease) => {
      if (lease === null) return false
      chunks.push(chunk)
      leases.push(lease)
      return true
    })
    const before = wire.pool.live
    for (const lease of leases) lease.release()
    expect(before).toBeGreaterThan(20)
    expect(wire.pool.free).toBeGreaterThan(20)
    await until(() => wire.pool.free === 0, { what: 'the free slabs to go' })
    expect(wire.hold(chunks[0]!)).toBeNull()
  })
})

describe('the check at the start', () => {
  it('finds no fault on this machine', async () => {
    expect(await findSlabFault({ deadlineMs: 10_000 })).toBeNull()
  })

  it.each([
    ['sockets that do not read into slabs', (hold: Wire['hold']) => hold, false, 'did not read into the pool'],
    ['a pool that knows no chunk of its own', () => () => null, true, 'did not read into the pool'],
  ] as const)('finds %s', async (_, holdBy, pooledSockets, fault) => {
    const open: typeof createDispatcher = (options) => {
      const real = createDispatcher({ ...options, pooledSockets })
      return { ...real, hold: holdBy(real.hold) }
    }
    expect(await findSlabFault({ open, deadlineMs: 10_000 })).toContain(fault)
  })

  it('finds a body that was overwritten before it was read', async () => {
    const open: typeof createDispatcher = (options) => {
      const real = createDispatcher(options)
      const hold: Wire['hold'] = (chunk) => {
        const lease = real.hold(chunk)
        chunk[0]! ^= 1
        return lease
      }
      return { ...real, hold }
    }
    expect(await findSlabFault({ open, deadlineMs: 10_000 })).toContain('changed')
  })

  it('does not wait for ever for an answer', async () => {
    const open: typeof createDispatcher = (options) => ({ ...createDispatcher(options), dispatch: () => true })
    expect(await findSlabFault({ open, deadlineMs: 50 })).toContain('no answer')
  })
})

it('plain sockets deliver the same with ordinary memory', async () => {
  await using origin = await startOrigin()
  const dispatcher = openDispatcher({ pooledSockets: false })
  const fire = await fetchUnderFire(dispatcher, origin, 40)
  expect([fire.leased, dispatcher.slabs]).toEqual([0, null])
  await dispatcher.destroy()
})

/** A linear congruential generator, so that every run draws the same. With real chance some runs would have no abort. */
function fixedDraws(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
