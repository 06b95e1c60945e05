// The bytes of one write: in order, small ones side by side in memory that is counted and comes back.
import { describe, expect, it } from 'vitest'
import { createFresh } from '../../../server/archives/fresh.ts'
import { LogBytes } from '../../../server/archives/log-bytes.ts'
import { createStagingMemory } from '../../../server/archives/staging-memory.ts'
import { bodyOf } from '../../support/origin.ts'

const KIB = 1024

describe('the bytes of one write', () => {
  it('come in order, and what was copied is not looked at again', () => {
    using staging = createStagingMemory(0)
    const log = new LogBytes(staging)
    const large = bodyOf(100 * KIB, 'large')
    const parts = ['a', 'b', 'c'].map((name) => bodyOf(30 * KIB, name))
    log.allocate(5).write('first')
    const lent = Buffer.from(parts[0]!)
    log.copy(lent)
    lent.fill(0)
    log.refer([large], { release() {} })
    log.copy(parts[1]!)
    log.allocate(4).write('last')
    log.copy(parts[2]!)
    log.close()
    const expected = Buffer.concat([Buffer.from('first'), parts[0]!, large, parts[1]!, Buffer.from('last'), parts[2]!])
    expect(Buffer.concat(log.buffers).equals(expected)).toBe(true)
    expect(log.bytes).toBe(expected.length)
    expect(log.buffers).toContain(large)
    log.release()
  })

  it('are few buffers, however many were put side by side, and so worth handing on', () => {
    using staging = createStagingMemory(0)
    const log = new LogBytes(staging)
    for (let n = 0; n < 600; n++) log.copy(bodyOf(KIB, `body ${n}`))
    log.close()
    expect(log.buffers.length).toBeLessThanOrEqual(15)
    expect(log.buffers.every(({ length }) => length > 0)).toBe(true)
    expect(createFresh(0, log.buffers, () => {}).isWorthwhile).toBe(true)
    log.release()
  })

  it('count what they take until they are released, and release what they refer to', () => {
    using staging = createStagingMemory(0)
    const log = new LogBytes(staging)
    let released = 0
    expect(staging.usedBytes).toBe(0)
    log.allocate(65_600)
    log.copy(bodyOf(KIB, 'small'))
    log.refer([bodyOf(100 * KIB, 'large')], { release: () => released++ })
    log.close()
    expect(staging.usedBytes).toBe(65_600 + 64 * KIB)
    expect(released).toBe(0)
    log.release()
    expect(staging.usedBytes).toBe(0)
    expect(released).toBe(1)
    expect(staging.liveBlocks).toBeLessThanOrEqual(1)
  })
})
