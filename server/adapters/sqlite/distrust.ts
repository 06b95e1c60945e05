// Finds the archives that may have lost facts, when the journal is opened, and raises their generation.
import type { DatabaseSync } from 'node:sqlite'
import type { Witness } from './witness.ts'

/**
 * After a power failure, facts of the last moments may be missing. They may be about entries that clients have already
 * read, and fetching those entries again may bring other bytes. So if facts are missing, or may be, the archive gets
 * another generation, and with it another ETag. What is sealed and sound stays.
 */
export function distrustWhatMayBeLost(db: DatabaseSync, witness: Witness): void {
  const { is_closed } = db.prepare('SELECT is_closed FROM state').get() as { is_closed: number }
  const unfinished = db
    .prepare('SELECT id, last_seq FROM archive WHERE terminal IS NULL AND swept_at IS NULL')
    .all() as unknown as { id: string; last_seq: number }[]
  const isLost = ({ id, last_seq }: { id: string; last_seq: number }) =>
    witness.seqs === null ? is_closed === 0 : (witness.seqs.get(id) ?? 0) > last_seq
  const raise = db.prepare('UPDATE archive SET generation = generation + 1 WHERE id = ?')
  db.exec('BEGIN IMMEDIATE')
  for (const archive of unfinished) if (isLost(archive)) raise.run(archive.id)
  db.exec('UPDATE state SET is_closed = 0; COMMIT')
  witness.clear()
  for (const { id, last_seq } of unfinished) witness.note(id, last_seq)
}
