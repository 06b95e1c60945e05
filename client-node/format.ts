// What the name of a file says about the format of an archive. Pure.
import type { ArchiveFormat } from '#contracts/archive.ts'

/** Null if the name says nothing. */
export function formatOfFileName(name: string): ArchiveFormat | null {
  if (/\.(tar\.gz|tgz)$/i.test(name)) return 'tar.gz'
  if (/\.tar$/i.test(name)) return 'tar'
  return /\.zip$/i.test(name) ? 'zip' : null
}
