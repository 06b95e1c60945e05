// The journal in one SQLite file (WAL). Its lock also keeps a second process out of the data directory.
// Commits outlive the process at once. Those that clients must be able to rely on are synced before they are reported.
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
import { isLocked } from './errors.ts'
import { type Quarantine, quarantine } from './quarantine.ts'
import { type ArchiveRow, pick, toRecord } from './rows.ts'
import type { SalvageOptions } from './salvage.ts'
import { prepareStatements, query, type Statements, transaction } from './statements.ts'
import { createWalSync, type WalSync } from './wal-sync.ts'
import { openWitness, type Witness } from './witness.ts'

/** Another process has the journal open. */
export class JournalLockedError extends Error {
  override readonly name = 'JournalLockedError'
}

export interface SqliteJournalOptions {
  file: string
  /** Called when a damaged or foreign file was moved aside. It reports what of the file was kept. */
  onQuarantine?: (quarantine: Quarantine, cause: unknown) => void
  /** True if the entries are those of the request; used on a damaged file. @default always true */
  isIntact?: SalvageOptions['isIntact']
  /** If damage ends an archive, its end can be read for this long. @default a day */
  retentionMs?: number
  /** Only the newest tombstones are kept. Each takes about 300 bytes. @default 100_000 */
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
/** Pages of 4 KiB that one `reclaim` gives back, which takes some milliseconds. */
const RECLAIMED_PAGES = 256
/** A file is truncated only if it is larger than needed by more than this. */
const SLACK_BYTES = 1024 * 1024
/** Tombstones that one transaction drops, which takes some milliseconds. */
const FORGOTTEN_AT_ONCE = 1_000
const LARGE_ROW_BYTES = 256 * 1024

const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** Facts that must outlive a power failure before clients hear of them. */
const REPORTED_FOR_GOOD: ReadonlySet<Fact['type']> = new Set(['archive-sealed', 'aborted', 'rewound'])

function openJournal(file: string, maxTombstones: number): Journal {
  const db = openDatabase(file)
  try {
    const wal = createWalSync(file)
    const { id } = db.prepare('SELECT id FROM state').get() as { id: string }
    const folder = realpathSync(dirname(file))
    const witness = openWitness(`${folder}/${id}`)
    distrustWhatMayBeLost(db, witness)
    wal.syncNow()
    // The name of the file, and that of its folder.
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
  const sql = prepareStatements(db)

  /** The caller must have made sure that these facts come next. */
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
      if (fact.type === 'rewound') sql.setGeneration.run(fact.generation, archiveId)
      if (fact.type === 'archive-sealed' || fact.type === 'aborted') {
        const terminal = { ...fact, seq: lastSeq + 1 + at }
        sql.setTerminal.run(JSON.stringify(terminal), fact.expiresAtMs, archiveId)
      }
    }
    sql.insertFacts.run(archiveId, lastSeq + added.length, first, last, failures, body)
  }

  /** Appends that failed without reporting whether their facts were taken: their last seq and the facts, by archive. */
  const doubtful = new Map<string, { seq: number; body: string }>()

  /** True if an earlier append with an unknown outcome has already appended exactly these facts. */
  function wasTaken(archiveId: string, seq: number, body: string): boolean {
    const doubt = doubtful.get(archiveId)
    if (doubt?.seq !== seq || doubt.body !== body || get(archiveId)?.lastSeq !== seq) return false
    return (sql.selectBody.get(archiveId, seq) as { body: string } | undefined)?.body === body
  }

  function append(archiveId: string, lastSeq: number, added: readonly Fact[], body: string): void {
    const seq = lastSeq + added.length
    if (sql.advance.run(seq, Buffer.byteLength(body), archiveId, lastSeq).changes !== 1) {
      if (wasTaken(archiveId, seq, body)) return
      throw new StaleSeqError(`archive ${archiveId} has moved on from seq ${lastSeq}`)
    }
    if (added.length > 0) insert(archiveId, lastSeq, added, body)
  }

  /** Makes facts safe to report: the witness notes them, and those that clients must be able to rely on are synced. */
  async function acknowledge(archiveId: string, seq: number, added: readonly Fact[]): Promise<void> {
    const isEnded = added.some(({ type }) => type === 'archive-sealed' || type === 'aborted')
    if (isEnded) witness.forget(archiveId)
    else witness.note(archiveId, seq)
    if (!added.some(({ type }) => REPORTED_FOR_GOOD.has(type))) return
    wal.committed(archiveId)
    await wal.waiting(archiveId)
  }

  function get(archiveId: string): ArchiveRecord | null {
    const row = sql.selectArchive.get(archiveId) as ArchiveRow | undefined
    return row === undefined ? null : toRecord(row)
  }

  const { damaged_at } = db.prepare('SELECT damaged_at FROM state').get() as { damaged_at: number | null }

  return {
    damagedAtMs: damaged_at,
    ...readings(sql),
    ...sweepings({ db, file, witness, maxTombstones }, sql),
    async accept(request, manifest, client) {
      const { archiveId, manifestHash, acceptedAtMs } = request
      const text = JSON.stringify(manifest)
      const bytes = Buffer.byteLength(text)
      // Writing a large row takes as long as making its text, so other work gets a turn in between.
      if (bytes > LARGE_ROW_BYTES) await breathe()
      const result = transaction(db, () => {
        const asked = JSON.stringify(request)
        const { changes } = sql.insertArchive.run(archiveId, manifestHash, acceptedAtMs, asked, client, bytes)
        if (changes === 1) sql.insertManifest.run(archiveId, text)
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
    async append(archiveId, lastSeq, added) {
      const seq = lastSeq + added.length
      const body = added.length === 0 ? '' : JSON.stringify(added)
      try {
        transaction(db, () => append(archiveId, lastSeq, added, body))
        await acknowledge(archiveId, seq, added)
        doubtful.delete(archiveId)
      } catch (error) {
        if (error instanceof UnavailableError) doubtful.set(archiveId, { seq, body })
        else doubtful.delete(archiveId)
        throw error
      }
    },
    async end(archiveId, fact) {
      const seq = transaction(db, () => {
        const record = get(archiveId)
        if (record === null || record.swept || record.terminal !== null) return null
        append(archiveId, record.lastSeq, [fact], JSON.stringify([fact]))
        return record.lastSeq + 1
      })
      if (seq !== null) await acknowledge(archiveId, seq, [fact])
      await wal.waiting(archiveId)
      return seq !== null
    },
    async [Symbol.asyncDispose]() {
      if (!db.isOpen) return
      try {
        db.exec('UPDATE state SET is_closed = 1')
        // Closing also writes the WAL into the file and syncs the file.
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

type Readings = Pick<
  Journal,
  | 'newestMs'
  | 'manifest'
  | 'facts'
  | 'failures'
  | 'entryFacts'
  | 'unfinished'
  | 'holdings'
  | 'expired'
  | 'kept'
  | 'usageSince'
>

/** The methods that only read. */
function readings(sql: Statements): Readings {
  const ids = (rows: unknown[]) => (rows as { id: string }[]).map(({ id }) => id)
  return {
    async newestMs() {
      const row = query(() => sql.selectNewest.get()) as { newest: number | null }
      return row.newest
    },
    async manifest(archiveId) {
      const row = query(() => sql.selectManifest.get(archiveId)) as { entries: string } | undefined
      return row === undefined ? [] : (JSON.parse(row.entries) as EntryInput[])
    },
    async facts(archiveId, afterSeq, limit) {
      return query(() => pick(sql.selectFacts.iterate(archiveId, afterSeq), ({ seq }) => seq > afterSeq, limit))
    },
    async failures(archiveId, afterSeq, limit) {
      const isNew = ({ type, seq }: Stored<Fact>) => type === 'entry-failed' && seq > afterSeq
      return query(() => pick(sql.selectFailures.iterate(archiveId, afterSeq), isNew, limit))
    },
    async entryFacts(archiveId, from, to) {
      const isAsked = (fact: Fact) => 'index' in fact && fact.index >= from && fact.index < to
      return query(() => pick(sql.selectEntryFacts.iterate(archiveId, from, to), isAsked))
    },
    async unfinished() {
      return query(() => (sql.selectUnfinished.all() as unknown as ArchiveRow[]).map(toRecord))
    },
    async holdings() {
      return query(() => sql.selectHoldings.all() as unknown as Holding[])
    },
    async expired(wallMs) {
      return query(() => ids(sql.selectExpired.all(wallMs)))
    },
    async kept() {
      return query(() => ids(sql.selectKept.all()))
    },
    async usageSince(day) {
      return query(() => sql.selectUsage.all(day) as unknown as Usage[])
    },
  }
}

type Sweepings = Pick<Journal, 'bury' | 'forget' | 'addUsage' | 'reclaim'>

/** The methods that keep the file small, and the usage counts, which outlive the archives that they count. */
function sweepings({ db, file, witness, maxTombstones }: Omit<OpenJournal, 'wal'>, sql: Statements): Sweepings {
  return {
    async bury(archiveId, wallMs) {
      transaction(db, () => {
        sql.buryArchive.run(wallMs, archiveId)
        sql.deleteFacts.run(archiveId)
        sql.deleteManifest.run(archiveId)
      })
      witness.forget(archiveId)
    },
    async forget(wallMs) {
      transaction(db, () => sql.forgetUsage.run(Math.floor(wallMs / DAY_MS)))
      const { inAll, old } = query(() => sql.countTombstones.get(wallMs)) as { inAll: number; old: number }
      for (let left = Math.max(old, inAll - maxTombstones); left > 0; left -= FORGOTTEN_AT_ONCE) {
        transaction(db, () => sql.forgetOldest.run(Math.min(left, FORGOTTEN_AT_ONCE)))
        await breathe()
      }
    },
    async addUsage(client, day, bytes) {
      transaction(db, () => sql.increaseUsage.run(client, day, bytes))
    },
    async reclaim() {
      return query(() => {
        if (pragma(db, 'auto_vacuum') === 0) return false
        if (pragma(db, 'freelist_count') > 0) {
          db.exec(`PRAGMA incremental_vacuum(${RECLAIMED_PAGES})`)
          return true
        }
        // No page is free any more, but the files may still have their old size.
        const wanted = pragma(db, 'page_count') * pragma(db, 'page_size')
        const isLarge = sizeOf(file) > wanted + SLACK_BYTES || sizeOf(`${file}-wal`) > WAL_LIMIT_BYTES
        if (isLarge) db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
        return false
      })
    },
  }
}
