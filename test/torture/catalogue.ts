// The sources that clients ask for: sound ones of many sizes with their checksums, and ones that fail in a known way.
import { crc32 } from 'node:zlib'
import { newArchiveKey } from '#contracts/client.ts'
import type { EntryFailureCode } from '#contracts/failures.ts'
import type { ArchiveFormat } from '../../client-node/index.ts'
import { bodyOf, bytes, chunked, delayed, finAfter, status } from '../support/behaviours.ts'
import type { Origin } from '../support/origin.ts'
import { between, oneOf } from './scope.ts'

export interface Sound {
  readonly url: string
  readonly crc32: number
  readonly sizeBytes: number
}

export interface Failing {
  readonly url: string
  readonly code: EntryFailureCode
}

export type Source = Sound | Failing

export interface Catalogue {
  readonly sound: readonly Sound[]
  /** Sound sources that answer late. Entries behind one in a list have to wait for it. */
  readonly slow: readonly Sound[]
  readonly failing: readonly Failing[]
}

/** One archive that a client asks for, and what happens to it. */
export interface Wish {
  readonly archiveKey: string
  readonly sources: readonly Source[]
  readonly format: ArchiveFormat
  /** If true, two clients ask for it at once. */
  readonly double: boolean
  /** It is cancelled when this fraction of its entries is settled. Null means never. */
  readonly cancelAt: number | null
}

const KiB = 1024
const MiB = 1024 * KiB

export const isSound = (source: Source): source is Sound => !('code' in source)

export function soundOf(url: string, body: Buffer): Sound {
  return { url, crc32: crc32(body), sizeBytes: body.length }
}

/** Sizes are evenly spread on a logarithmic scale. */
export function createCatalogue(origin: Origin, random: () => number, largest = 20 * MiB): Catalogue {
  const sound = Array.from({ length: 40 }, (_, index) => {
    const sizeBytes = Math.round(KiB * (largest / KiB) ** (index / 39))
    const seed = `s${index}-${between(random, 0, 1e9)}`
    return soundOf(`${origin.url}/bytes/${sizeBytes}/${seed}.bin`, bodyOf(sizeBytes, seed))
  })
  for (const [index, sizeBytes] of [0, 700, 300 * KiB, 3 * MiB].entries()) {
    const body = bodyOf(sizeBytes, `chunked-${index}`)
    sound.push(soundOf(origin.serve(`/chunked-${index}`, chunked(body)), body))
  }
  const slow = [400, 900, 1500, 2500].map((ms) => {
    const body = bodyOf(2000, `slow-${ms}`)
    return soundOf(origin.serve(`/slow-${ms}`, delayed(ms, bytes(body))), body)
  })
  const cut = bodyOf(3 * MiB, 'cut')
  const failing: Failing[] = [
    { url: origin.serve('/missing', status(404)), code: 'HTTP_STATUS' },
    { url: origin.serve('/late-and-missing', delayed(700, status(410))), code: 'HTTP_STATUS' },
    { url: 'no url at all', code: 'BAD_URL' },
    { url: 'http://10.1.2.3/private', code: 'FORBIDDEN_TARGET' },
    { url: origin.serve('/cut', finAfter(1000, { body: cut, headers: noResume })), code: 'BODY_TRUNCATED' },
  ]
  return { sound, slow, failing }
}

/** Prevents resuming, so that every attempt starts from the beginning and is cut again. */
const noResume = { etag: undefined, 'last-modified': undefined, 'accept-ranges': 'none' } as const

/** Draws a random wish, of which at least one source is sound. */
export function drawWish(catalogue: Catalogue, random: () => number): Wish {
  const sources: Source[] = Array.from({ length: between(random, 2, 10) }, () => oneOf(random, catalogue.sound))
  if (random() < 0.4) sources.unshift(oneOf(random, catalogue.slow))
  if (random() < 0.5) sources.splice(between(random, 0, sources.length), 0, oneOf(random, catalogue.slow))
  for (let failures = between(random, 0, 4); failures > 0; failures--) {
    sources.splice(between(random, 0, sources.length + 1), 0, oneOf(random, catalogue.failing))
  }
  const format = random() < 0.8 ? 'zip' : oneOf(random, ['tar', 'tar.gz'] as const)
  const double = random() < 0.15
  const cancelAt = !double && random() < 0.1 ? random() * 0.8 : null
  return { archiveKey: newArchiveKey(), sources, format, double, cancelAt }
}
