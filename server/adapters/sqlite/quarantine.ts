// Moves a damaged or foreign journal file aside, and copies what can be read of it into a new journal.
import { renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { syncFolder } from '../../lib/sync-folder.ts'
import { APPLICATION_ID, openDatabase, pragma } from './database.ts'
import { type Salvaged, type SalvageOptions, salvage } from './salvage.ts'

export interface Quarantine {
  /** The new path of the damaged file, which is otherwise unchanged. */
  readonly movedTo: string
  /** Null if nothing of it can be read, or if it belongs to another program. */
  readonly salvaged: Salvaged | null
}

/** Afterwards `file` is a sound journal, or does not exist. */
export function quarantine(file: string, isIntact: SalvageOptions['isIntact'], expiresAtMs: number): Quarantine {
  const nowMs = Date.now()
  const movedTo = `${file}.damaged-${new Date(nowMs).toISOString().replaceAll(':', '')}`
  renameSync(file, movedTo)
  rmSync(`${file}-shm`, { force: true })
  // The WAL holds the latest writes, so it moves along.
  try {
    renameSync(`${file}-wal`, `${movedTo}-wal`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  syncFolder(dirname(file))
  const salvaged = salvageInto(file, movedTo, isIntact, expiresAtMs)
  const db = openDatabase(file)
  db.prepare('UPDATE state SET damaged_at = ?').run(nowMs)
  db.close()
  return { movedTo, salvaged }
}

function salvageInto(
  file: string,
  movedTo: string,
  isIntact: SalvageOptions['isIntact'],
  expiresAtMs: number,
): Salvaged | null {
  let from: DatabaseSync | null = null
  let to: DatabaseSync | null = null
  try {
    from = new DatabaseSync(movedTo, { readOnly: true })
    if (pragma(from, 'application_id') !== APPLICATION_ID) return null
    to = openDatabase(file)
    return salvage({ from, to, isIntact, expiresAtMs })
  } catch {
    // A partial salvage is removed, because it would look like everything there was.
    to?.close()
    to = null
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
    return null
  } finally {
    to?.close()
    from?.close()
    rmSync(`${movedTo}-shm`, { force: true })
  }
}
