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
const SCHEMA_VERSION = 2

/**
 * Facts that were appended together are one row, a JSON array: a row for each would cost more than all else of it. And a
 * manifest has a table of its own, as SQLite writes a whole row again, however large, when one number in it changes.
 */
const schema = `
  CREATE TABLE archive (
    id TEXT PRIMARY KEY, manifest_hash TEXT NOT NULL, accepted_at INTEGER NOT NULL,
    request TEXT NOT NULL,
    last_seq INTEGER NOT NULL, generation INTEGER NOT NULL,
    terminal TEXT, expires_at INTEGER, swept_at INTEGER
  ) STRICT;
  CREATE INDEX archive_expiry ON archive (expires_at) WHERE expires_at IS NOT NULL;
  CREATE TABLE manifest (archive TEXT PRIMARY KEY, entries TEXT NOT NULL) STRICT;
  CREATE TABLE facts (
    archive TEXT NOT NULL, last_seq INTEGER NOT NULL, first_entry INTEGER, last_entry INTEGER,
    failures INTEGER NOT NULL, body TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX facts_order ON facts (archive, last_seq);
  CREATE INDEX facts_failed ON facts (archive, last_seq) WHERE failures > 0;
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

interface FactsRow {
  last_seq: number
  body: string
}

/** Those of the rows' facts that are wanted, in order, at most `limit`. Reads no further row than it needs. */
function pick<F extends Fact>(rows: Iterable<unknown>, wanted: (fact: Stored<Fact>) => boolean, limit = Infinity) {
  const picked: Stored<F>[] = []
  for (const row of rows) {
    const { last_seq, body } = row as FactsRow
    const facts = JSON.parse(body) as Fact[]
    for (const [at, fact] of facts.entries()) {
      const stored = { ...fact, seq: last_seq - facts.length + 1 + at }
      if (wanted(stored)) picked.push(stored as unknown as Stored<F>)
      if (picked.length === limit) return picked
    }
  }
  return picked
}

function journalOver(db: DatabaseSync): Journal {
  const columns = 'request, last_seq, generation, terminal, swept_at'
  const insertArchive = db.prepare(
    `INSERT INTO archive (id, manifest_hash, accepted_at, request, last_seq, generation)
     VALUES (?, ?, ?, ?, 1, 1) ON CONFLICT DO NOTHING`,
  )
  const insertManifest = db.prepare('INSERT INTO manifest (archive, entries) VALUES (?, ?)')
  const selectArchive = db.prepare(`SELECT ${columns} FROM archive WHERE id = ?`)
  const selectManifest = db.prepare('SELECT entries FROM manifest WHERE archive = ?')
  const selectUnfinished = db.prepare(
    `SELECT ${columns} FROM archive WHERE terminal IS NULL AND swept_at IS NULL ORDER BY accepted_at, rowid`,
  )
  const advance = db.prepare(
    'UPDATE archive SET last_seq = ? WHERE id = ? AND last_seq = ? AND terminal IS NULL AND swept_at IS NULL',
  )
  const setGeneration = db.prepare('UPDATE archive SET generation = ? WHERE id = ?')
  const setTerminal = db.prepare('UPDATE archive SET terminal = ?, expires_at = ? WHERE id = ?')
  const insertFacts = db.prepare(
    'INSERT INTO facts (archive, last_seq, first_entry, last_entry, failures, body) VALUES (?, ?, ?, ?, ?, ?)',
  )
  const after = 'archive = ? AND last_seq > ? ORDER BY last_seq'
  const selectFacts = db.prepare(`SELECT last_seq, body FROM facts WHERE ${after}`)
  const selectFailures = db.prepare(`SELECT last_seq, body FROM facts WHERE failures > 0 AND ${after}`)
  const selectEntryFacts = db.prepare(
    'SELECT last_seq, body FROM facts WHERE archive = ? AND last_entry >= ? AND first_entry < ? ORDER BY last_seq',
  )
  const selectExpired = db.prepare('SELECT id FROM archive WHERE expires_at <= ? AND swept_at IS NULL')
  const selectKept = db.prepare('SELECT id FROM archive WHERE swept_at IS NULL')
  const buryArchive = db.prepare(
    `UPDATE archive SET request = json_set(request, '$.name', ''), terminal = NULL, expires_at = NULL,
     swept_at = ? WHERE id = ?`,
  )
  const deleteFacts = db.prepare('DELETE FROM facts WHERE archive = ?')
  const deleteManifest = db.prepare('DELETE FROM manifest WHERE archive = ?')
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

  return {
    async accept(request, manifest) {
      const { archiveId, manifestHash, acceptedAtMs } = request
      const text = JSON.stringify(manifest)
      return transaction(() => {
        const { changes } = insertArchive.run(archiveId, manifestHash, acceptedAtMs, JSON.stringify(request))
        if (changes === 1) insertManifest.run(archiveId, text)
        return { record: get(archiveId)!, created: changes === 1 }
      })
    },
    async get(archiveId) {
      return get(archiveId)
    },
    async manifest(archiveId) {
      const row = selectManifest.get(archiveId) as { entries: string } | undefined
      return row === undefined ? [] : (JSON.parse(row.entries) as EntryInput[])
    },
    async append(archiveId, lastSeq, added) {
      transaction(() => {
        const seq = lastSeq + added.length
        if (advance.run(seq, archiveId, lastSeq).changes !== 1) {
          throw new StaleSeqError(`archive ${archiveId} has moved on from seq ${lastSeq}`)
        }
        if (added.length === 0) return
        let first: number | null = null
        let last: number | null = null
        let failures = 0
        for (const [at, fact] of added.entries()) {
          if ('index' in fact) {
            first = Math.min(first ?? fact.index, fact.index)
            last = Math.max(last ?? fact.index, fact.index)
          }
          if (fact.type === 'entry-failed') failures++
          if (fact.type === 'rewound') setGeneration.run(fact.generation, archiveId)
          if (fact.type === 'archive-sealed' || fact.type === 'aborted') {
            const terminal = { ...fact, seq: lastSeq + 1 + at }
            setTerminal.run(JSON.stringify(terminal), fact.expiresAtMs, archiveId)
          }
        }
        insertFacts.run(archiveId, seq, first, last, failures, JSON.stringify(added))
      })
    },
    async facts(archiveId, afterSeq, limit) {
      return pick(selectFacts.iterate(archiveId, afterSeq), ({ seq }) => seq > afterSeq, limit)
    },
    async failures(archiveId, afterSeq, limit) {
      const isNew = ({ type, seq }: Stored<Fact>) => type === 'entry-failed' && seq > afterSeq
      return pick(selectFailures.iterate(archiveId, afterSeq), isNew, limit)
    },
    async entryFacts(archiveId, from, to) {
      const isAsked = (fact: Fact) => 'index' in fact && fact.index >= from && fact.index < to
      return pick(selectEntryFacts.iterate(archiveId, from, to), isAsked)
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
        deleteManifest.run(archiveId)
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
