// A second, independent definition of every event on the wire: exactly these fields, and no others.
import * as z from 'zod'
import type { ArchiveEvent } from '#contracts/events.ts'
import { abortReasons, entryFailures } from '#contracts/failures.ts'

const size = z.int().min(0)
const count = z.int().min(0)
const time = z.iso.datetime()
const href = z.string().regex(/^\/archives\/[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{11}\/[^/?#]+$/)
const codesOf = (table: Record<string, unknown>) => z.enum(Object.keys(table) as [string, ...string[]])

export const eventSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('accepted'),
    archiveId: z.string().regex(/^[A-Za-z0-9_-]{22}$/),
    protocol: z.literal(1),
    name: z.string().min(1),
    format: z.enum(['zip', 'tar', 'tar.gz']),
    totalEntries: count,
    href,
    acceptedAt: time,
  }),
  z.strictObject({
    type: z.literal('progress'),
    phase: z.enum(['queued', 'fetching', 'packing']),
    queuePosition: count.nullable(),
    sealedEntries: count,
    failedEntries: count,
    totalEntries: count,
    receivedBytes: size,
    expectedBytes: size.nullable(),
    readableBytes: size,
    bytesPerSecond: z.number().min(0),
    active: z
      .array(z.strictObject({ index: count, receivedBytes: size, sizeBytes: size.nullable(), attempt: z.int().min(1) }))
      .max(32),
    waiting: z.array(z.strictObject({ origin: z.url(), untilMs: z.int().min(1), entries: z.int().min(1) })).max(32),
  }),
  z.strictObject({
    type: z.literal('file-failed'),
    index: count,
    url: z.string(),
    name: z.string().nullable(),
    code: codesOf(entryFailures),
    message: z.string().min(1),
    retryable: z.boolean(),
    attempts: count,
    httpStatus: z.int().nullable(),
  }),
  z.strictObject({
    type: z.literal('complete'),
    href,
    sizeBytes: size,
    etag: z.string().regex(/^"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{11}\.\d+"$/),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .nullable(),
    sealedEntries: count,
    failedEntries: count,
    durationMs: z.number().min(0),
    expiresAt: time,
  }),
  z.strictObject({
    type: z.literal('aborted'),
    code: codesOf(abortReasons),
    message: z.string().min(1),
    retryable: z.boolean(),
  }),
])

export interface Told {
  readonly id: string
  readonly event: ArchiveEvent
}

/**
 * Checks the order of a whole stream of events, and throws at the first event that breaks the contract. `after` is the
 * cursor with which the stream was asked for.
 */
export function checkStream(told: readonly Told[], after: string | null = null): void {
  let last = after === null ? 0 : Number(after)
  const failed = new Set<number>()
  for (const [place, { id, event }] of told.entries()) {
    eventSchema.parse(event)
    const at = `${event.type} at ${place}`
    if (!/^\d{1,15}$/.test(id)) throw new Error(`${at} has the id ${id}`)
    if (Number(id) < last) throw new Error(`${at} goes back from ${last} to ${id}`)
    if (event.type === 'accepted' && (after !== null || place > 0)) throw new Error(`${at} is out of place`)
    if (event.type !== 'accepted' && after === null && place === 0) throw new Error(`${at} comes before accepted`)
    if (event.type === 'file-failed') {
      if (Number(id) === last) throw new Error(`${at} shares its id ${id}`)
      if (failed.has(event.index)) throw new Error(`${at} tells of entry ${event.index} a second time`)
      failed.add(event.index)
    }
    const isLast = place === told.length - 1
    if (isLast !== (event.type === 'complete' || event.type === 'aborted')) throw new Error(`${at} is out of place`)
    last = Number(id)
  }
}
