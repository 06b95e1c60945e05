// Packing a tar ends if something goes wrong. What other programs read of tars is tested in build.test.ts and readers.test.ts.
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { packTar, type TarMember } from '../../../server/tar/pack.ts'
import { bodyOf } from '../../support/origin.ts'

function member(name: string, body: Buffer, open = () => Readable.from([body], { objectMode: false })): TarMember {
  return { name, sizeBytes: body.length, modifiedMs: 0, open }
}

const failing = () =>
  new Readable({
    read() {
      this.destroy(new Error('the spool is gone'))
    },
  })

describe.each([false, true])('packTar, gzip %s', (gzip) => {
  const signal = new AbortController().signal
  const members = [member('a', bodyOf(200_000, 'a')), member('b', bodyOf(200_000, 'b'))]

  it('returns how many bytes it wrote', async () => {
    let written = 0
    const write = async (buffers: readonly Uint8Array[]) => {
      for (const { length } of buffers) written += length
    }
    expect(await packTar({ gzip, members, write, signal })).toBe(written)
    expect(written).toBeGreaterThan(1_000)
  })

  it('packs nothing into a sound archive', async () => {
    expect(await packTar({ gzip, members: [], write: async () => {}, signal })).toBeGreaterThan(0)
  })

  it.each([1, 2, 3, 1_000])(
    'fails with the error of a write, even if it is only number %s or the last one',
    async (nth) => {
      let writes = 0
      const count = async () => {
        writes++
      }
      await packTar({ gzip, members, write: count, signal })
      const fatal = Math.min(nth, writes)
      let again = 0
      const write = async () => {
        if (++again === fatal) throw new Error('no space')
      }
      await expect(packTar({ gzip, members, write, signal })).rejects.toThrow('no space')
    },
  )

  it('fails with the error of a body, even in the middle', async () => {
    const bad = [members[0]!, member('bad', bodyOf(200_000, 'bad'), failing), members[1]!]
    await expect(packTar({ gzip, members: bad, write: async () => {}, signal })).rejects.toThrow('the spool is gone')
  })

  it('stops when its signal aborts', async () => {
    const stop = new AbortController()
    const write = async () => stop.abort()
    await expect(packTar({ gzip, members, write, signal: stop.signal })).rejects.toThrow()
  })
})
