// Packs sealed bodies into a tar or tar.gz with archiver, one after the other, and returns its size. Knows no files.
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
  /** Called with the bytes in order. The next call waits until the last one resolves. */
  write(buffers: readonly Uint8Array[]): Promise<void>
  signal: AbortSignal
}

/** Bytes gathered for one write, because archiver yields pieces of only some KiB. */
const BATCH_BYTES = 256 * 1024

/**
 * After a failure, archiver is left to the garbage collector as it is. Its abort() and destroy() both throw later, when nobody
 * can catch the error.
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
  // The failure is handled below. Until then Node must not report it as unhandled.
  written.catch(() => {})
  for (const { name, sizeBytes: size, modifiedMs, open } of members) {
    signal.throwIfAborted()
    const body = open()
    // archiver does not notice the error of a source. It would end the entry early, or wait for ever.
    const failed = new Promise<never>((_, reject) => body.on('error', reject))
    failed.catch(() => {})
    const added = once(archive, 'entry')
    added.catch(() => {})
    // archiver takes the size of a streamed entry from here. Without it archiver would hold the whole body in memory.
    const stats = { size: tarSize(size) } as Stats
    archive.append(size === 0 ? Buffer.alloc(0) : body, { name, date: tarDate(modifiedMs), mode: 0o644, stats })
    await Promise.race([added, failed, written.then(() => Promise.reject(new Error('the tar ended early')))])
  }
  // Both are awaited together, because `finalize` never resolves if `written` has failed and reads no more.
  await Promise.all([archive.finalize(), written])
  return sizeBytes
}
