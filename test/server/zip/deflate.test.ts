// Turns at deflating: clients take turns piece by piece, and whoever has been ended waits for none.
import { inflateRawSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { createDeflater } from '../../../server/zip/deflate.ts'
import { bodyOf } from '../../support/behaviours.ts'

const never = new AbortController().signal
const turnOf = (client: string, signal = never) => ({ client, archive: `of ${client}`, signal })
const text = Buffer.alloc(100_000, 'again and again ')

it('holds no turn while it waits for a source, and leaves the queue at once when it is ended', async () => {
  const deflater = createDeflater({ maxAtATime: 1 })
  const gate = Promise.withResolvers<void>()
  async function* slow() {
    yield text
    await gate.promise
    yield text
  }
  const written: Uint8Array[] = []
  const busy = deflater.inMemory([bodyOf(1_000_000, 'busy')], turnOf('c'))
  const first = deflater.streaming(slow(), async (buffers) => void written.push(...buffers), turnOf('a'))
  const ended = new AbortController()
  const turn = turnOf('b', ended.signal)
  const second = deflater.inMemory([text], turn)
  const third = deflater.inMemory([text], turnOf('b'))
  ended.abort(new Error('ended'))
  await expect(second).rejects.toThrow('ended')
  await expect(deflater.inMemory([text], turn)).rejects.toThrow('ended')
  expect(await busy).toBeNull()
  expect(inflateRawSync((await third)!.bytes).equals(text)).toBe(true)
  gate.resolve()
  const { sizeBytes } = await first
  expect(sizeBytes).toBe(Buffer.concat(written).length)
  expect(inflateRawSync(Buffer.concat(written)).equals(Buffer.concat([text, text]))).toBe(true)
  // The turn has been given back.
  expect(await deflater.inMemory([Buffer.from('x')], turnOf('c'))).toBeNull()
})

it('lets a client wait for one turn only, even if another client has hundreds waiting', async () => {
  const deflater = createDeflater({ maxAtATime: 1 })
  const order: string[] = []
  const piece = bodyOf(256 * 1024, 'film')
  async function* film() {
    for (let n = 0; n < 40; n++) yield piece
  }
  const filming = deflater.streaming(film(), async () => void order.push('film'), turnOf('mean'))
  const crowd = Array.from({ length: 300 }, async () => {
    await deflater.inMemory([text], turnOf('mean'))
    order.push('mean')
  })
  await deflater.inMemory([text], turnOf('good'))
  // Only what had already begun and one turn come before it.
  expect(order.length).toBeLessThanOrEqual(2)
  await Promise.all([filming, ...crowd])
})
