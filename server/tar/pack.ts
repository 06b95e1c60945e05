// Packs sealed bodies into a tar or tar.gz by archiver, one after the other, and says how long it came out.
import { once } from 'node:events'
import type { Stats } from 'node:fs'
import type { Readable } from 'node:stream'
import { TarArchive } from 'archiver'

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

/** @returns the size of the archive in bytes */
export async function packTar({ gzip, members, write, signal }: PackTarOptions): Promise<number> {
  const archive = new TarArchive({ gzip, gzipOptions: { level: 6 } })
  let sizeBytes = 0
  const written = (async () => {
    for await (const chunk of archive as unknown as AsyncIterable<Buffer>) {
      signal.throwIfAborted()
      await write([chunk])
      sizeBytes += chunk.length
    }
  })()
  // Handled below; until then a failure of the writing must not count as unhandled.
  written.catch(() => archive.abort())
  for (const { name, sizeBytes: size, modifiedMs, open } of members) {
    signal.throwIfAborted()
    const body = open()
    // archiver does not see a source's error: it would end the entry early, or wait for ever.
    const failed = new Promise<never>((_, reject) => body.once('error', reject))
    failed.catch(() => {})
    const added = once(archive, 'entry')
    added.catch(() => {})
    // archiver takes a streamed entry's size from here; without it, it would hold the whole body in memory.
    const stats = { size } as Stats
    archive.append(size === 0 ? Buffer.alloc(0) : body, { name, date: new Date(modifiedMs), mode: 0o644, stats })
    await Promise.race([added, failed, written.then(() => Promise.reject(new Error('the tar ended early')))])
  }
  await archive.finalize()
  await written
  return sizeBytes
}
