// The queue in which events of a subscription wait for their reader.
import { describe, expect, it } from 'vitest'
import { EventQueue } from '../../../contracts/client/subscription.ts'
import type { ArchiveEvent } from '../../../contracts/events.ts'

const event = (id: string, type: ArchiveEvent['type']) => ({ id, event: { type } as ArchiveEvent })

async function idsOf(queue: EventQueue, signal?: AbortSignal): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of queue.read(signal)) ids.push(id)
  return ids
}

describe('a queue of events', () => {
  it('keeps the latest progress only, and every other event in order', async () => {
    const queue = new EventQueue()
    queue.push(event('1', 'accepted'))
    for (const id of ['1.1', '1.2', '1.3']) queue.push(event(id, 'progress'))
    queue.push(event('2', 'file-failed'))
    queue.push(event('2.1', 'progress'))
    queue.push(event('3', 'complete'))
    queue.end()
    expect(await idsOf(queue)).toEqual(['1', '1.3', '2', '2.1', '3'])
  })

  it('is read as events come', async () => {
    const queue = new EventQueue()
    const reading = idsOf(queue)
    for (const id of ['1', '2', '3']) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      queue.push(event(id, 'file-failed'))
    }
    queue.end()
    expect(await reading).toEqual(['1', '2', '3'])
  })

  it('throws the first error only, and only after the events that came before it', async () => {
    const queue = new EventQueue()
    queue.push(event('1', 'accepted'))
    queue.fail(new Error('first'))
    queue.fail(new Error('second'))
    const read = queue.read()
    expect((await read.next()).value?.id).toBe('1')
    await expect(read.next()).rejects.toThrow('first')
  })

  it('throws at once when the reader gives up, whether it waits or not', async () => {
    const queue = new EventQueue()
    const giveUp = new AbortController()
    const waiting = idsOf(queue, giveUp.signal)
    setTimeout(() => giveUp.abort(new Error('enough')), 1)
    await expect(waiting).rejects.toThrow('enough')
    queue.push(event('1', 'accepted'))
    await expect(idsOf(queue, giveUp.signal)).rejects.toThrow('enough')
  })
})
