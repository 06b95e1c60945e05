// The journal in one SQLite file (WAL). Holding it open also is the lock that keeps a second process off the data directory.
// Commits outlive the process at once; those that clients are told of are synced before anybody hears of them.
import { mkdirSync, realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { setImmediate as breathe } from 'node:timers/promises'
import type { EntryInput } from '#contracts/archive.ts'
import { syncFolder } from '../../lib/sync-folder.ts'
import {
  type ArchiveRecord,
  type Fact,
  type Holding,
  type Journal,
  StaleSeqError,
  type Stored,
  type Usage,
} from '../../ports/journal.ts'
import { UnavailableError } from '../../ports/unavailable.ts'
import { isDamaged, openDatabase, pragma, WAL_LIMIT_BYTES } from './database.ts'
import { distrustWhatMayBeLost } from './distrust.ts'
import { isLocked, portError } from './errors.ts'
import { type Quarantine, quarantine } from './quarantine.ts'
import { type ArchiveRow, pick, toRecord } from './rows.ts'
import type { SalvageOptions } from './salvage.ts'
import { createWalSync, type WalSync } from './wal-sync.ts'
import { openWitness, type Witness } from './witness.ts'

/** Another process has the journal open. */
export class JournalLockedError extends Error {
  override readonly name = 'JournalLockedError'
}

export interface SqliteJournalOptions {
  file: string
  /** Told when a damaged or foreign file was moved aside, and what of it goes on. */
  onQuarantine?: (quarantine: Quarantine, cause: unknown) => void
  /** Whether the entries are those that the request was made with, for what is read of a damaged file. @default always */
  isIntact?: SalvageOptions['isIntact']
  /** How long the end of an archive is told that a damaged file does not let go on. @default a day */
  retentionMs?: number
  /** Of these the newest stay, some 300 bytes each. @default 100_000 */
  maxTombstones?: number
}

export function createSqliteJournal(options: SqliteJournalOptions): Journal {
  const { file, onQuarantine, isIntact = () => true, retentionMs = DAY_MS, maxTombstones = 100_000 } = options
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  try {
    return openJournal(file, maxTombstones)
  } catch (error) {
    if (isLocked(error)) throw new JournalLockedError(`another process uses ${file}`, { cause: error })
    if (!isDamaged(error)) throw error
    onQuarantine?.(quarantine(file, isIntact, Date.now() + retentionMs), error)
    return openJournal(file, maxTombstones)
  }
}

const DAY_MS = 24 * 3_600_000
/** Given back at a time, of 4 KiB each: some milliseconds. */
const RECLAIMED_PAGES = 256
/** So much too large a file is left as it is. */
const SLACK_BYTES = 1024 * 1024
/** Tombstones, in some milliseconds. */
const FORGOTTEN_AT_ONCE = 1_000
const LARGE_ROW_BYTES = 256 * 1024

const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** Facts that clients are told of as of something that stays. */
const TOLD: ReadonlySet<Fact['type']> = new Set(['archive-sealed', 'aborted', 'rewound'])

function openJournal(file: string, maxTombstones: number): Journal {
  const db = openDatabase(file)
  try {
    const wal = createWalSync(file)
    const { id } = db.prepare('SELECT id FROM state').get() as { id: string }
    const folder = realpathSync(dirname(file))
    const witness = openWitness(`${folder}/${id}`)
    distrustWhatMayBeLost(db, witness)
    wal.syncNow()
    // The file's own name, and that of its folder.
    for (const path of [folder, dirname(folder)]) syncFolder(path)
    return journalOver({ db, file, wal, witness, maxTombstones })
  } catch (error) {
    db.close()
    throw error
  }
}

interface OpenJournal {
  readonly db: DatabaseSync
  readonly file: string
  readonly wal: WalSync
  readonly witness: Witness
  readonly maxTombstones: number
}

function journalOver({ db, file, wal, witness, maxTombstones }: OpenJournal): Journal {
  const columns = 'request, last_seq, generation, terminal, swept_at, client, journal_bytes'
  const insertArchive = db.prepare(
    `INSERT INTO archive (id, manifest_hash, accepted_at, request, last_seq, generation, client, journal_bytes)
     VALUES (?, ?, ?, ?, 1, 1, ?, ?) ON CONFLICT DO NOTHING`,
  )
  const insertManifest = db.prepare('INSERT INTO manifest (archive, entries) VALUES (?, ?)')
  const selectArchive = db.prepare(`SELECT ${columns} FROM archive WHERE id = ?`)
  const selectBody = db.prepare('SELECT body FROM facts WHERE archive = ? AND last_seq = ?')
  const selectManifest = db.prepare('SELECT entries FROM manifest WHERE archive = ?')
  const selectUnfinished = db.prepare(
    `SELECT ${columns} FROM archive WHERE terminal IS NULL AND swept_at IS NULL ORDER BY accepted_at, rowid`,
  )
  const advance = db.prepare(
    `UPDATE archive SET last_seq = ?, journal_bytes = journal_bytes + ?
     WHERE id = ? AND last_seq = ? AND terminal IS NULL AND swept_at IS NULL`,
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
    `UPDATE archive SET request = json_set(request, '$.name', '', '$.nonce', ''), terminal = NULL, expires_at = NULL,
     swept_at = ?, client = '', journal_bytes = 0 WHERE id = ?`,
  )
  const deleteFacts = db.prepare('DELETE FROM facts WHERE archive = ?')
  const deleteManifest = db.prepare('DELETE FROM manifest WHERE archive = ?')
  const countTombstones = db.prepare(
    'SELECT count(*) AS inAll, count(*) FILTER (WHERE swept_at < ?) AS old FROM archive WHERE swept_at IS NOT NULL',
  )
  const forgetOldest = db.prepare(
    'DELETE FROM archive WHERE id IN (SELECT id FROM archive WHERE swept_at IS NOT NULL ORDER BY swept_at LIMIT ?)',
  )
  const forgetUsage = db.prepare('DELETE FROM usage WHERE day < ?')
  const increaseUsage = db.prepare(
    `INSERT INTO usage (client, day, bytes) VALUES (?, ?, ?)
     ON CONFLICT (client, day) DO UPDATE SET bytes = bytes + excluded.bytes`,
  )
  const selectUsage = db.prepare('SELECT client, day, bytes FROM usage WHERE day >= ? ORDER BY day, client')
  const selectNewest = db.prepare(
    `SELECT max(max(accepted_at, coalesce(swept_at, 0), coalesce(json_extract(terminal, '$.sealedAtMs'), 0))) AS newest
     FROM archive`,
  )
  const selectHoldings = db.prepare(
    `SELECT id AS archiveId, client, journal_bytes AS journalBytes, CASE WHEN terminal IS NULL THEN 'unfinished'
     WHEN json_extract(terminal, '$.type') = 'aborted' THEN 'aborted' ELSE 'sealed' END AS state
     FROM archive WHERE swept_at IS NULL`,
  )

  function transaction<T>(work: () => T): T {
    db.exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      db.exec('COMMIT')
      return result
    } catch (error) {
      // On a full disk SQLite may have rolled back by itself.
      if (db.isTransaction) db.exec('ROLLBACK')
      throw portError(error)
    }
  }

  function query<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw portError(error)
    }
  }

  /** After the caller has made sure that they come next. */
  function insert(archiveId: string, lastSeq: number, added: readonly Fact[], body: string): void {
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
    insertFacts.run(archiveId, lastSeq + added.length, first, last, failures, body)
  }

  /** Those of which an error did not say whether they were taken: by archive, the last seq and the facts. */
  const doubtful = new Map<string, { seq: number; body: string }>()

  /** What stands there is just what was to be appended, by a call whose outcome was not known. */
  function wasTaken(archiveId: string, seq: number, body: string): boolean {
    const doubt = doubtful.get(archiveId)
    if (doubt?.seq !== seq || doubt.body !== body || get(archiveId)?.lastSeq !== seq) return false
    return (selectBody.get(archiveId, seq) as { body: string } | undefined)?.body === body
  }

  function append(archiveId: string, lastSeq: number, added: readonly Fact[], body: string): void {
    const seq = lastSeq + added.length
    if (advance.run(seq, Buffer.byteLength(body), archiveId, lastSeq).changes !== 1) {
      if (wasTaken(archiveId, seq, body)) return
      throw new StaleSeqError(`archive ${archiveId} has moved on from seq ${lastSeq}`)
    }
    if (added.length > 0) insert(archiveId, lastSeq, added, body)
  }

  /** Before anybody is told: the witness knows, and what is told for good is on disk. */
  async function acknowledge(archiveId: string, seq: number, added: readonly Fact[]): Promise<void> {
    const isEnded = added.some(({ type }) => type === 'archive-sealed' || type === 'aborted')
    if (isEnded) witness.forget(archiveId)
    else witness.note(archiveId, seq)
    if (!added.some(({ type }) => TOLD.has(type))) return
    wal.committed(archiveId)
    await wal.waiting(archiveId)
  }

  function get(archiveId: string): ArchiveRecord | null {
    const row = selectArchive.get(archiveId) as ArchiveRow | undefined
    return row === undefined ? null : toRecord(row)
  }
  const { damaged_at } = db.prepare('SELECT damaged_at FROM state').get() as { damaged_at: number | null }
  const ids = (rows: unknown[]) => (rows as { id: string }[]).map(({ id }) => id)

  return {
    damagedAtMs: damaged_at,
    async newestMs() {
      const row = query(() => selectNewest.get()) as { newest: number | null }
      return row.newest
    },
    async accept(request, manifest, client) {
      const { archiveId, manifestHash, acceptedAtMs } = request
      const text = JSON.stringify(manifest)
      const bytes = Buffer.byteLength(text)
      // Writing a large row takes as long once more: others have their turn in between.
      if (bytes > LARGE_ROW_BYTES) await breathe()
      const result = transaction(() => {
        const asked = JSON.stringify(request)
        const { changes } = insertArchive.run(archiveId, manifestHash, acceptedAtMs, asked, client, bytes)
        if (changes === 1) insertManifest.run(archiveId, text)
        return { record: get(archiveId)!, created: changes === 1 }
      })
      if (result.created) {
        witness.note(archiveId, 1)
        wal.committed(archiveId)
      }
      await wal.waiting(archiveId)
      return result
    },
    async get(archiveId) {
      for (;;) {
        const waiting = wal.waiting(archiveId)
        if (waiting === null) return query(() => get(archiveId))
        await waiting
      }
    },
    async manifest(archiveId) {
      const row = query(() => selectManifest.get(archiveId)) as { entries: string } | undefined
      return row === undefined ? [] : (JSON.parse(row.entries) as EntryInput[])
    },
    async append(archiveId, lastSeq, added) {
      const seq = lastSeq + added.length
      const body = added.length === 0 ? '' : JSON.stringify(added)
      try {
        transaction(() => append(archiveId, lastSeq, added, body))
        await acknowledge(archiveId, seq, added)
        doubtful.delete(archiveId)
      } catch (error) {
        if (error instanceof UnavailableError) doubtful.set(archiveId, { seq, body })
        else doubtful.delete(archiveId)
        throw error
      }
    },
    async end(archiveId, fact) {
      const seq = transaction(() => {
        const record = get(archiveId)
        if (record === null || record.swept || record.terminal !== null) return null
        append(archiveId, record.lastSeq, [fact], JSON.stringify([fact]))
        return record.lastSeq + 1
      })
      if (seq !== null) await acknowledge(archiveId, seq, [fact])
      await wal.waiting(archiveId)
      return seq !== null
    },
    async facts(archiveId, afterSeq, limit) {
      return query(() => pick(selectFacts.iterate(archiveId, afterSeq), ({ seq }) => seq > afterSeq, limit))
    },
    async failures(archiveId, afterSeq, limit) {
      const isNew = ({ type, seq }: Stored<Fact>) => type === 'entry-failed' && seq > afterSeq
      return query(() => pick(selectFailures.iterate(archiveId, afterSeq), isNew, limit))
    },
    async entryFacts(archiveId, from, to) {
      const isAsked = (fact: Fact) => 'index' in fact && fact.index >= from && fact.index < to
      return query(() => pick(selectEntryFacts.iterate(archiveId, from, to), isAsked))
    },
    async unfinished() {
      return query(() => (selectUnfinished.all() as unknown as ArchiveRow[]).map(toRecord))
    },
    async holdings() {
      return query(() => selectHoldings.all() as unknown as Holding[])
    },
    async expired(wallMs) {
      return query(() => ids(selectExpired.all(wallMs)))
    },
    async kept() {
      return query(() => ids(selectKept.all()))
    },
    async bury(archiveId, wallMs) {
      transaction(() => {
        buryArchive.run(wallMs, archiveId)
        deleteFacts.run(archiveId)
        deleteManifest.run(archiveId)
      })
      witness.forget(archiveId)
    },
    async forget(wallMs) {
      transaction(() => forgetUsage.run(Math.floor(wallMs / DAY_MS)))
      const { inAll, old } = query(() => countTombstones.get(wallMs)) as { inAll: number; old: number }
      for (let left = Math.max(old, inAll - maxTombstones); left > 0; left -= FORGOTTEN_AT_ONCE) {
        transaction(() => forgetOldest.run(Math.min(left, FORGOTTEN_AT_ONCE)))
        await breathe()
      }
    },
    async addUsage(client, day, bytes) {
      transaction(() => increaseUsage.run(client, day, bytes))
    },
    async usageSince(day) {
      return query(() => selectUsage.all(day) as unknown as Usage[])
    },
    async reclaim() {
      return query(() => {
        if (pragma(db, 'auto_vacuum') === 0) return false
        if (pragma(db, 'freelist_count') > 0) {
          db.exec(`PRAGMA incremental_vacuum(${RECLAIMED_PAGES})`)
          return true
        }
        // The pages are free, and the files still as large as they were.
        const wanted = pragma(db, 'page_count') * pragma(db, 'page_size')
        const isLarge = sizeOf(file) > wanted + SLACK_BYTES || sizeOf(`${file}-wal`) > WAL_LIMIT_BYTES
        if (isLarge) db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
        return false
      })
    },
    async [Symbol.asyncDispose]() {
      if (!db.isOpen) return
      try {
        db.exec('UPDATE state SET is_closed = 1')
        // It also writes the WAL into the file, and syncs that.
        db.close()
        witness.remove()
      } finally {
        if (db.isOpen) db.close()
        witness.close()
        await wal.close()
      }
    },
  }
}
