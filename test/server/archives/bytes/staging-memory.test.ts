// The memory in which bodies wait: a budget that is exact to the byte, and blocks that small bodies share.
import { describe, expect, it } from 'vitest'
import { ChunkPacker } from '../../../../server/archives/bytes/chunk-packer.ts'
import { createStagingMemory } from '../../../../server/archives/bytes/staging-memory.ts'
import type { Lease } from '../../../../server/lib/blocks.ts'
import { bodyOf } from '../../../support/origin.ts'

const KIB = 1024

describe('the staging budget', () => {
  it('gives out exactly its bytes, and takes them back', () => {
    using staging = createStagingMemory(10)
    expect([7, 4, 3, 1].map((bytes) => staging.tryReserve(bytes))).toEqual([true, false, true, false])
    expect(staging.tryReserve(0)).toBe(true)
    staging.release(7)
    expect(staging.usedBytes).toBe(3)
    expect(staging.tryReserve(7)).toBe(true)
  })
})

describe('pieces', () => {
  it('lie side by side in one block, which is given back when the last of them is released', () => {
    using staging = createStagingMemory(0)
    const pieces = Array.from({ length: 30 }, () => staging.allocate(10 * KIB))
    expect(new Set(pieces.map(({ memory }) => memory.buffer)).size).toBe(2)
    for (const [n, { memory }] of pieces.entries()) memory.fill(n)
    for (const [n, { memory }] of pieces.entries()) expect(memory.equals(Buffer.alloc(10 * KIB, n))).toBe(true)
    for (const { lease } of pieces.slice(0, 24)) lease!.release()
    expect(staging.liveBlocks).toBe(2)
    pieces[24]!.lease!.release()
    // The other block is still being filled.
    expect(staging.liveBlocks).toBe(1)
  })

  it('are ordinary memory if they are large, or if the limit of blocks is reached', () => {
    using staging = createStagingMemory(0)
    expect(staging.allocate(64 * KIB + 1).lease).toBeNull()
    const pieces = Array.from({ length: 520 }, () => staging.allocate(64 * KIB))
    expect(pieces.filter(({ lease }) => lease === null)).toHaveLength(8)
    expect(pieces.every(({ memory }) => memory.length === 64 * KIB)).toBe(true)
    for (const { lease } of pieces) lease?.release()
    expect(staging.allocate(64 * KIB).lease).not.toBeNull()
  })

  it('throw at a second release', () => {
    using staging = createStagingMemory(0)
    const { lease } = staging.allocate(KIB)
    lease!.release()
    expect(() => lease!.release()).toThrow('twice')
  })
})

describe('packed chunks', () => {
  it('that follow each other become one buffer, in pieces of the expected size', () => {
    using staging = createStagingMemory(0)
    const content = bodyOf(20_000, 'copied')
    const chunks: Buffer[] = []
    const leases: Lease[] = []
    const packer = new ChunkPacker(staging)
    for (let at = 0; at < content.length; at += 250) {
      const chunk = Buffer.from(content.subarray(at, at + 250))
      packer.pack(chunk, 10_000, chunks, leases)
      chunk.fill(0)
    }
    expect(chunks.map(({ length }) => length)).toEqual([10_000, 10_000])
    expect(leases).toHaveLength(2)
    expect(Buffer.concat(chunks).equals(content)).toBe(true)
  })

  it('do not change what was appended between them', () => {
    using staging = createStagingMemory(0)
    const chunks: Buffer[] = []
    const packer = new ChunkPacker(staging)
    packer.pack(Buffer.from('one '), 100, chunks, [])
    chunks.push(Buffer.from('two '))
    packer.pack(Buffer.from('three'), 100, chunks, [])
    expect(Buffer.concat(chunks).toString()).toBe('one two three')
  })
})
