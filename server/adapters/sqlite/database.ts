// Opens the journal's file under its lock, creates or migrates it, and checks it. Knows the schema, no facts.
import { statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isDamaged as isDamagedFile } from './errors.ts'

/** Marks a file as ours ("shef"), see https://www.sqlite.org/fileformat.html section 1.3.9. */
export const APPLICATION_ID = 0x73686566
const SCHEMA_VERSION = 3

const tombstones = 'CREATE INDEX archive_swept ON archive (swept_at) WHERE swept_at IS NOT NULL;'
const usage = 'CREATE TABLE usage (client TEXT, day INTEGER, bytes INTEGER NOT NULL, PRIMARY KEY (client, day)) STRICT;'
/** One row: the journal's id, whether it was closed with everything on disk, and when it was last found damaged. */
const state = `CREATE TABLE state (id TEXT NOT NULL, is_closed INTEGER NOT NULL, damaged_at INTEGER) STRICT;
  INSERT INTO state VALUES (lower(hex(randomblob(16))), 0, NULL);`

/**
 * Facts that were appended together are one row with a JSON array. In a row of its own a fact takes 5.2 us instead of 1.6,
 * which is 4 % of the CPU time of an entry at W2 (`npm run bench -- W2 --rounds 7`). A manifest has a table of its own,
 * because SQLite rewrites a whole row, however large, if one number in it changes.
 */
const schema = `
  CREATE TABLE archive (
    id TEXT PRIMARY KEY, manifest_hash TEXT NOT NULL, accepted_at INTEGER NOT NULL,
    request TEXT NOT NULL,
    last_seq INTEGER NOT NULL, generation INTEGER NOT NULL,
    terminal TEXT, expires_at INTEGER, swept_at INTEGER,
    client TEXT NOT NULL DEFAULT '', journal_bytes INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX archive_expiry ON archive (expires_at) WHERE expires_at IS NOT NULL;
  ${tombstones}
  CREATE TABLE manifest (archive TEXT PRIMARY KEY, entries TEXT NOT NULL) STRICT;
  CREATE TABLE facts (
    archive TEXT NOT NULL, last_seq INTEGER NOT NULL, first_entry INTEGER, last_entry INTEGER,
    failures INTEGER NOT NULL, body TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX facts_order ON facts (archive, last_seq);
  CREATE INDEX facts_failed ON facts (archive, last_seq) WHERE failures > 0;
  ${usage}
  ${state}
`

/** Counts for each archive the bytes of its manifest and its facts. */
export const COUNT_BYTES = `UPDATE archive SET journal_bytes =
  coalesce((SELECT octet_length(entries) FROM manifest WHERE archive = archive.id), 0) +
  coalesce((SELECT sum(octet_length(body)) FROM facts WHERE archive = archive.id), 0)`

/** The key is a version; its script migrates to the next version. */
const migrations: Record<number, string> = {
  2: `
    ALTER TABLE archive ADD COLUMN client TEXT NOT NULL DEFAULT '';
    ALTER TABLE archive ADD COLUMN journal_bytes INTEGER NOT NULL DEFAULT 0;
    ${COUNT_BYTES};
    ${tombstones}
    ${usage}
    ${state}
  `,
}

/** When the WAL restarts after a burst, SQLite truncates it to this size. */
export const WAL_LIMIT_BYTES = 8 * 1024 * 1024
/**
 * A migrated file is rewritten once, so that it can shrink later. If it is larger than this, copying takes too long.
 */
const MAX_REWRITTEN_BYTES = 256 * 1024 * 1024

/** The file is not a journal of sheaf, or its content is damaged. */
export class DamagedJournalError extends Error {
  override readonly name = 'DamagedJournalError'
}

export const isDamaged = (error: unknown) => error instanceof DamagedJournalError || isDamagedFile(error)

export function openDatabase(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: 0 })
  try {
    // EXCLUSIVE must come before the first read of a WAL file. No -shm file is made then, and the lock lasts until
    // exit. auto_vacuum must come before the first write, because later only a VACUUM changes it.
    db.exec(`PRAGMA locking_mode = EXCLUSIVE; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = ${WAL_LIMIT_BYTES}`)
    db.exec('BEGIN EXCLUSIVE; COMMIT')
    const applicationId = pragma(db, 'application_id')
    const version = pragma(db, 'user_version')
    const isNew = applicationId === 0 && version === 0 && pragma(db, 'schema_version') === 0
    if (!isNew && applicationId !== APPLICATION_ID) throw new DamagedJournalError('not a journal of sheaf')
    if (!isNew && version !== SCHEMA_VERSION && migrations[version] === undefined) {
      throw new Error(`${file} has schema ${version}; this build reads schema ${SCHEMA_VERSION}`)
    }
    if (isNew) {
      db.exec(
        `BEGIN; ${schema} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`,
      )
    }
    const check = db.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
    if (check.quick_check !== 'ok') throw new DamagedJournalError(check.quick_check)
    if (!isNew && version !== SCHEMA_VERSION) migrate(db, version, file)
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

function migrate(db: DatabaseSync, version: number, file: string): void {
  db.exec('BEGIN')
  for (let from = version; from < SCHEMA_VERSION; from++) db.exec(migrations[from]!)
  db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`)
  const { size } = statSync(file)
  const { bavail, bsize } = statfsSync(dirname(file))
  // VACUUM copies the file twice: to a temporary file, and back by way of the WAL.
  if (size > MAX_REWRITTEN_BYTES || bavail * bsize < 4 * size) return
  try {
    db.exec('VACUUM')
  } catch {
    // Without VACUUM the file cannot shrink, but its free pages are still reused.
  }
}

export function pragma(db: DatabaseSync, name: string): number {
  return Number(Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0])
}
