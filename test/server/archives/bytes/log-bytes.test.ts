// The bytes of one write: they are in order, and small ones share memory that is counted and given back.
import { describe, expect, it } from 'vitest'
import { LogBytes } from '../../../../server/archives/bytes/log-bytes.ts'
import { createRecentWrite } from '../../../../server/archives/bytes/recent-write.ts'
import { createStagingMemory } from '../../../../server/archives/bytes/staging-memory.ts'
import { bodyOf } from '../../../support/origin.ts'

const KIB = 1024

const nothing = () => {}

describe('the bytes of one write', () => {
  it('come in order, and a copied body is not read again', () => {
    using staging = createStagingMemory(0)
    const log = new LogBytes(staging)
    const large = [bodyOf(100 * KIB, 'large'), bodyOf(10, 'its end')]
    const parts = ['a', 'b', 'c'].map((name) => bodyOf(30 * KIB, name))
    let isFree = false
    log.allocate(5).write('first')
    const lent = Buffer.from(parts[0]!)
    log.append([lent.subarray(0, 7), lent.subarray(7)], () => {
      isFree = true
    })
    expect(isFree).toBe(true)
    lent.fill(0)
    log.append(large, nothing)
    log.append([parts[1]!], nothing)
    log.append([], nothing)
    log.allocate(4).write('last')
    log.append([parts[2]!], nothing)
    log.close()
    const all = [Buffer.from('first'), parts[0]!, ...large, parts[1]!, Buffer.from('last'), parts[2]!]
    const expected = Buffer.concat(all)
    expect(Buffer.concat(log.buffers).equals(expected)).toBe(true)
    expect(log.bytes).toBe(expected.length)
    expect(log.buffers).toContain(large[0])
    log.release()
  })

  it.each([1, 10, 22, 33, 63, 64, 65, 200])(
    'of bodies of %i KiB are large buffers, which are worth handing on and take little more memory',
    (size) => {
      using staging = createStagingMemory(0)
      const log = new LogBytes(staging)
      let lentBytes = 0
      for (let n = 0; log.bytes < 2_000 * KIB; n++) {
        log.allocate(70).fill(n)
        const body = bodyOf(size * KIB, `body ${n}`)
        lentBytes += body.length
        log.append([body], () => {
          lentBytes -= body.length
        })
      }
      log.close()
      expect(log.buffers.every(({ length }) => length > 0)).toBe(true)
      expect(createRecentWrite(0, log.buffers, nothing).isWorthwhile).toBe(true)
      expect(staging.usedBytes + lentBytes).toBeLessThan(log.bytes + 70 * KIB)
      log.release()
      expect([staging.usedBytes, lentBytes]).toEqual([0, 0])
      // One block is still being filled.
      expect(staging.liveBlocks).toBeLessThanOrEqual(1)
    },
  )

  it('count their memory until they are released, and then also release large bodies', () => {
    using staging = createStagingMemory(0)
    const log = new LogBytes(staging)
    let freed = 0
    expect(staging.usedBytes).toBe(0)
    log.allocate(65_600)
    log.append([bodyOf(KIB, 'small')], nothing)
    log.append([bodyOf(100 * KIB, 'large')], () => freed++)
    log.close()
    expect(staging.usedBytes).toBe(65_600 + 64 * KIB)
    expect(freed).toBe(0)
    log.release()
    expect([staging.usedBytes, freed]).toEqual([0, 1])
    log.release()
    expect([staging.usedBytes, freed]).toEqual([0, 1])
    expect(staging.liveBlocks).toBeLessThanOrEqual(1)
  })
})
