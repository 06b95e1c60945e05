// Packs sealed bodies into a tar or tar.gz by archiver, one after the other, and says how long it came out.
import { once } from 'node:events'
import type { Stats } from 'node:fs'
import type { Readable } from 'node:stream'
import { TarArchive } from 'archiver'
import { tarDate, tarSize } from './ranges.ts'

export interface TarMember {
  readonly name: string
  readonly sizeBytes: number
  readonly modifiedMs: number
  open(): Readable
}

export interface PackTarOptions {
  gzip: boolean
  members: Iterable<TarMember>
  /** In order, one call at a time. */
  write(buffers: readonly Uint8Array[]): Promise<void>
  signal: AbortSignal
}

/** archiver yields pieces of some KiB; so much goes into one write. */
const BATCH_BYTES = 256 * 1024

/**
 * A failure leaves archiver as it stands, for the garbage collector: both its abort() and its destroy() throw later, where
 * nobody can catch it.
 * @returns the size of the archive in bytes
 */
export async function packTar({ gzip, members, write, signal }: PackTarOptions): Promise<number> {
  const archive = new TarArchive({ gzip, gzipOptions: { level: 6 } })
  let sizeBytes = 0
  let batch: Buffer[] = []
  let batchBytes = 0
  async function writeBatch(): Promise<void> {
    await write(batch)
    sizeBytes += batchBytes
    batch = []
    batchBytes = 0
  }
  const written = (async () => {
    for await (const chunk of (archive as unknown as Readable).iterator({ destroyOnReturn: false })) {
      signal.throwIfAborted()
      batch.push(chunk)
      batchBytes += chunk.length
      if (batchBytes >= BATCH_BYTES) await writeBatch()
    }
    await writeBatch()
  })()
  // Handled below; until then a failure of the writing must not count as unhandled.
  written.catch(() => {})
  for (const { name, sizeBytes: size, modifiedMs, open } of members) {
    signal.throwIfAborted()
    const body = open()
    // archiver does not see a source's error: it would end the entry early, or wait for ever.
    const failed = new Promise<never>((_, reject) => body.on('error', reject))
    failed.catch(() => {})
    const added = once(archive, 'entry')
    added.catch(() => {})
    // archiver takes a streamed entry's size from here; without it, it would hold the whole body in memory.
    const stats = { size: tarSize(size) } as Stats
    archive.append(size === 0 ? Buffer.alloc(0) : body, { name, date: tarDate(modifiedMs), mode: 0o644, stats })
    await Promise.race([added, failed, written.then(() => Promise.reject(new Error('the tar ended early')))])
  }
  // Together, as an archive that nobody reads any more is never final.
  await Promise.all([archive.finalize(), written])
  return sizeBytes
}
