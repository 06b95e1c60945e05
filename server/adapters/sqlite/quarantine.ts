// What becomes of a journal that is damaged or no journal: it is kept aside, and what can be read of it goes into a new one.
import { renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { syncFolder } from '../../lib/sync-folder.ts'
import { APPLICATION_ID, openDatabase, pragma } from './database.ts'
import { type Salvaged, type SalvageOptions, salvage } from './salvage.ts'

export interface Quarantine {
  /** Where the file lies now, as it was found. */
  readonly movedTo: string
  /** Null if nothing of it can be read, or it is another program's. */
  readonly salvaged: Salvaged | null
}

/** Afterwards there is a sound journal at `file`, or none. */
export function quarantine(file: string, isIntact: SalvageOptions['isIntact'], expiresAtMs: number): Quarantine {
  const nowMs = Date.now()
  const movedTo = `${file}.damaged-${new Date(nowMs).toISOString().replaceAll(':', '')}`
  renameSync(file, movedTo)
  rmSync(`${file}-shm`, { force: true })
  // What was written last is in there.
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
    // Without a whole one there shall be none: half a salvage would look like all there was.
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
