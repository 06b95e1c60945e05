// Reads the format of an archive from a file name. Pure.
import type { ArchiveFormat } from '#contracts/archive.ts'

/** Returns null if the name has no known extension. */
export function formatOfFileName(name: string): ArchiveFormat | null {
  if (/\.(tar\.gz|tgz)$/i.test(name)) return 'tar.gz'
  if (/\.tar$/i.test(name)) return 'tar'
  return /\.zip$/i.test(name) ? 'zip' : null
}
