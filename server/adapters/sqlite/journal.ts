// The journal in one SQLite file (WAL). Holding it open also is the lock that keeps a second process off the data directory.
// Commits outlive the process at once and a power failure within moments: a client that holds its key submits again.
import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { EntryInput } from '#contracts/archive.ts'
import { type ArchiveRecord, type Fact, type Journal, StaleSeqError, type Stored } from '../../ports/journal.ts'
import { NoSpaceError } from '../../ports/no-space.ts'

/** Marks a file as ours ("shef"), see https://www.sqlite.org/fileformat.html section 1.3.9. */
const APPLICATION_ID = 0x73686566
const SCHEMA_VERSION = 1

const schema = `
  CREATE TABLE archive (
    id TEXT PRIMARY KEY, manifest_hash TEXT NOT NULL, accepted_at INTEGER NOT NULL,
    request TEXT NOT NULL, manifest TEXT NOT NULL,
    last_seq INTEGER NOT NULL, generation INTEGER NOT NULL,
    terminal TEXT, expires_at INTEGER, swept_at INTEGER
  ) STRICT;
  CREATE INDEX archive_expiry ON archive (expires_at) WHERE expires_at IS NOT NULL;
  CREATE TABLE fact (
    archive TEXT NOT NULL, seq INTEGER NOT NULL, type TEXT NOT NULL, entry INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (archive, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX fact_failed ON fact (archive, seq) WHERE type = 'entry-failed';
  CREATE INDEX fact_entry ON fact (archive, entry) WHERE entry IS NOT NULL;
`

/** Another process has the journal open. */
export class JournalLockedError extends Error {
  override readonly name = 'JournalLockedError'
}

export interface SqliteJournalOptions {
  file: string
  /** Told when an unreadable or foreign file was moved aside, with its new path and the reason. */
  onQuarantine?: (movedTo: string, cause: unknown) => void
}

export function createSqliteJournal({ file, onQuarantine }: SqliteJournalOptions): Journal {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  try {
    return journalOver(openDatabase(file))
  } catch (error) {
    if (isLocked(error)) throw new JournalLockedError(`another process uses ${file}`, { cause: error })
    if (!isDamaged(error)) throw error
    const aside = `${file}.damaged-${new Date().toISOString().replaceAll(':', '')}`
    renameSync(file, aside)
    for (const suffix of ['-wal', '-shm']) rmSync(file + suffix, { force: true })
    onQuarantine?.(aside, error)
    return journalOver(openDatabase(file))
  }
}

class DamagedJournalError extends Error {
  override readonly name = 'DamagedJournalError'
}

function openDatabase(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: 0 })
  try {
    // EXCLUSIVE before the first read of a WAL file: no -shm, and the file lock is held until the process ends.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    db.exec('BEGIN EXCLUSIVE; COMMIT')
    const applicationId = pragma(db, 'application_id')
    const version = pragma(db, 'user_version')
    if (applicationId === 0 && version === 0 && pragma(db, 'schema_version') === 0) {
      db.exec(
        `BEGIN; ${schema} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`,
      )
    } else if (applicationId !== APPLICATION_ID) {
      throw new DamagedJournalError('not a journal of sheaf')
    } else if (version !== SCHEMA_VERSION) {
      throw new Error(`${file} has schema ${version}; this build reads schema ${SCHEMA_VERSION}`)
    }
    const check = db.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
    if (check.quick_check !== 'ok') throw new DamagedJournalError(check.quick_check)
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

function pragma(db: DatabaseSync, name: string): number {
  return Number(Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0])
}

/** The low byte: extended codes hold the primary one there, see https://www.sqlite.org/rescode.html. */
const resultCode = (error: unknown) => ((error as { errcode?: number }).errcode ?? 0) & 0xff
/** SQLITE_BUSY, SQLITE_LOCKED. */
const isLocked = (error: unknown) => [5, 6].includes(resultCode(error))
/** SQLITE_FULL. */
const isFull = (error: unknown) => resultCode(error) === 13
/** SQLITE_CORRUPT, SQLITE_NOTADB. */
const isDamaged = (error: unknown) => error instanceof DamagedJournalError || [11, 26].includes(resultCode(error))

interface ArchiveRow {
  request: string
  last_seq: number
  generation: number
  terminal: string | null
  swept_at: number | null
}

function toRecord(row: ArchiveRow): ArchiveRecord {
  return {
    ...JSON.parse(row.request),
    lastSeq: row.last_seq,
    generation: row.generation,
    terminal: row.terminal === null ? null : JSON.parse(row.terminal),
    swept: row.swept_at !== null,
  }
}

function toFact<F extends Fact>({ seq, body }: { seq: number; body: string }): Stored<F> {
  return { ...JSON.parse(body), seq }
}

function journalOver(db: DatabaseSync): Journal {
  const columns = 'request, last_seq, generation, terminal, swept_at'
  const insertArchive = db.prepare(
    `INSERT INTO archive (id, manifest_hash, accepted_at, request, manifest, last_seq, generation)
     VALUES (?, ?, ?, ?, ?, 1, 1) ON CONFLICT DO NOTHING`,
  )
  const selectArchive = db.prepare(`SELECT ${columns} FROM archive WHERE id = ?`)
  const selectManifest = db.prepare('SELECT manifest FROM archive WHERE id = ?')
  const selectUnfinished = db.prepare(
    `SELECT ${columns} FROM archive WHERE terminal IS NULL AND swept_at IS NULL ORDER BY accepted_at, rowid`,
  )
  const advance = db.prepare(
    'UPDATE archive SET last_seq = ? WHERE id = ? AND last_seq = ? AND terminal IS NULL AND swept_at IS NULL',
  )
  const setGeneration = db.prepare('UPDATE archive SET generation = ? WHERE id = ?')
  const setTerminal = db.prepare('UPDATE archive SET terminal = ?, expires_at = ? WHERE id = ?')
  const insertFact = db.prepare('INSERT INTO fact (archive, seq, type, entry, body) VALUES (?, ?, ?, ?, ?)')
  const page = 'AND seq > ? ORDER BY seq LIMIT ?'
  const selectFacts = db.prepare(`SELECT seq, body FROM fact WHERE archive = ? ${page}`)
  const selectFailures = db.prepare(`SELECT seq, body FROM fact WHERE archive = ? AND type = 'entry-failed' ${page}`)
  const selectEntryFacts = db.prepare(
    'SELECT seq, body FROM fact WHERE archive = ? AND entry >= ? AND entry < ? ORDER BY seq',
  )
  const selectExpired = db.prepare('SELECT id FROM archive WHERE expires_at <= ? AND swept_at IS NULL')
  const selectKept = db.prepare('SELECT id FROM archive WHERE swept_at IS NULL')
  const buryArchive = db.prepare(
    `UPDATE archive SET request = json_set(request, '$.name', ''), manifest = '', terminal = NULL, expires_at = NULL,
     swept_at = ? WHERE id = ?`,
  )
  const deleteFacts = db.prepare('DELETE FROM fact WHERE archive = ?')
  const forgetArchives = db.prepare('DELETE FROM archive WHERE swept_at < ?')

  function transaction<T>(work: () => T): T {
    db.exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      db.exec('COMMIT')
      return result
    } catch (error) {
      // On a full disk SQLite may have rolled back by itself.
      if (db.isTransaction) db.exec('ROLLBACK')
      throw isFull(error) ? new NoSpaceError('no space left for the journal', { cause: error }) : error
    }
  }

  const get = (archiveId: string) => {
    const row = selectArchive.get(archiveId) as ArchiveRow | undefined
    return row === undefined ? null : toRecord(row)
  }
  const ids = (rows: unknown[]) => (rows as { id: string }[]).map(({ id }) => id)
  const facts = <F extends Fact>(rows: unknown[]) =>
    (rows as { seq: number; body: string }[]).map((row) => toFact<F>(row))

  return {
    async accept(request, manifest) {
      const { archiveId, manifestHash, acceptedAtMs } = request
      const text = JSON.stringify(manifest)
      return transaction(() => {
        const { changes } = insertArchive.run(archiveId, manifestHash, acceptedAtMs, JSON.stringify(request), text)
        return { record: get(archiveId)!, created: changes === 1 }
      })
    },
    async get(archiveId) {
      return get(archiveId)
    },
    async manifest(archiveId) {
      const row = selectManifest.get(archiveId) as { manifest: string } | undefined
      return row?.manifest ? (JSON.parse(row.manifest) as EntryInput[]) : []
    },
    async append(archiveId, lastSeq, added) {
      transaction(() => {
        let seq = lastSeq
        if (advance.run(lastSeq + added.length, archiveId, lastSeq).changes !== 1) {
          throw new StaleSeqError(`archive ${archiveId} has moved on from seq ${lastSeq}`)
        }
        for (const fact of added) {
          seq++
          insertFact.run(archiveId, seq, fact.type, 'index' in fact ? fact.index : null, JSON.stringify(fact))
          if (fact.type === 'rewound') setGeneration.run(fact.generation, archiveId)
          if (fact.type === 'archive-sealed' || fact.type === 'aborted') {
            setTerminal.run(JSON.stringify({ ...fact, seq }), fact.expiresAtMs, archiveId)
          }
        }
      })
    },
    async facts(archiveId, afterSeq, limit) {
      return facts(selectFacts.all(archiveId, afterSeq, limit))
    },
    async failures(archiveId, afterSeq, limit) {
      return facts(selectFailures.all(archiveId, afterSeq, limit))
    },
    async entryFacts(archiveId, from, to) {
      return facts(selectEntryFacts.all(archiveId, from, to))
    },
    async unfinished() {
      return (selectUnfinished.all() as unknown as ArchiveRow[]).map(toRecord)
    },
    async expired(wallMs) {
      return ids(selectExpired.all(wallMs))
    },
    async kept() {
      return ids(selectKept.all())
    },
    async bury(archiveId, wallMs) {
      transaction(() => {
        buryArchive.run(wallMs, archiveId)
        deleteFacts.run(archiveId)
      })
    },
    async forget(wallMs) {
      forgetArchives.run(wallMs)
    },
    async [Symbol.asyncDispose]() {
      if (db.isOpen) db.close()
    },
  }
}
