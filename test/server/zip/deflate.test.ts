// Turns at deflating: as many as may at a time, and nobody who has been ended waits for one.
import { inflateRawSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { createDeflater } from '../../../server/zip/deflate.ts'

const never = new AbortController().signal
const text = Buffer.alloc(100_000, 'again and again ')

it('gives the turns in order, and lets whoever is ended leave the queue at once', async () => {
  const deflater = createDeflater({ maxAtATime: 1 })
  const gate = Promise.withResolvers<void>()
  async function* slow() {
    yield text
    await gate.promise
    yield text
  }
  const written: Uint8Array[] = []
  const first = deflater.streaming(slow(), async (buffers) => void written.push(...buffers), never)
  const ended = new AbortController()
  const second = deflater.inMemory([text], ended.signal)
  const third = deflater.inMemory([text], never)
  ended.abort(new Error('ended'))
  await expect(second).rejects.toThrow('ended')
  await expect(deflater.inMemory([text], ended.signal)).rejects.toThrow('ended')
  gate.resolve()
  const { sizeBytes } = await first
  expect(sizeBytes).toBe(Buffer.concat(written).length)
  expect(inflateRawSync(Buffer.concat(written)).equals(Buffer.concat([text, text]))).toBe(true)
  expect(inflateRawSync((await third)!.bytes).equals(text)).toBe(true)
  // The turn came back.
  expect(await deflater.inMemory([Buffer.from('x')], never)).toBeNull()
})
