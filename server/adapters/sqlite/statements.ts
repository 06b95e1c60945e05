// Prepares the journal's SQL statements once, and runs them: in a transaction to write, or as a query to read.
import type { DatabaseSync } from 'node:sqlite'
import { portError } from './errors.ts'

export type Statements = ReturnType<typeof prepareStatements>

export function prepareStatements(db: DatabaseSync) {
  const columns = 'request, last_seq, generation, terminal, swept_at, client, journal_bytes'
  const after = 'archive = ? AND last_seq > ? ORDER BY last_seq'
  return {
    insertArchive: db.prepare(
      `INSERT INTO archive (id, manifest_hash, accepted_at, request, last_seq, generation, client, journal_bytes)
       VALUES (?, ?, ?, ?, 1, 1, ?, ?) ON CONFLICT DO NOTHING`,
    ),
    insertManifest: db.prepare('INSERT INTO manifest (archive, entries) VALUES (?, ?)'),
    selectArchive: db.prepare(`SELECT ${columns} FROM archive WHERE id = ?`),
    selectBody: db.prepare('SELECT body FROM facts WHERE archive = ? AND last_seq = ?'),
    selectManifest: db.prepare('SELECT entries FROM manifest WHERE archive = ?'),
    selectUnfinished: db.prepare(
      `SELECT ${columns} FROM archive WHERE terminal IS NULL AND swept_at IS NULL ORDER BY accepted_at, rowid`,
    ),
    advance: db.prepare(
      `UPDATE archive SET last_seq = ?, journal_bytes = journal_bytes + ?
       WHERE id = ? AND last_seq = ? AND terminal IS NULL AND swept_at IS NULL`,
    ),
    setGeneration: db.prepare('UPDATE archive SET generation = ? WHERE id = ?'),
    setTerminal: db.prepare('UPDATE archive SET terminal = ?, expires_at = ? WHERE id = ?'),
    insertFacts: db.prepare(
      'INSERT INTO facts (archive, last_seq, first_entry, last_entry, failures, body) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    selectFacts: db.prepare(`SELECT last_seq, body FROM facts WHERE ${after}`),
    selectFailures: db.prepare(`SELECT last_seq, body FROM facts WHERE failures > 0 AND ${after}`),
    selectEntryFacts: db.prepare(
      'SELECT last_seq, body FROM facts WHERE archive = ? AND last_entry >= ? AND first_entry < ? ORDER BY last_seq',
    ),
    selectExpired: db.prepare('SELECT id FROM archive WHERE expires_at <= ? AND swept_at IS NULL'),
    selectKept: db.prepare('SELECT id FROM archive WHERE swept_at IS NULL'),
    buryArchive: db.prepare(
      `UPDATE archive SET request = json_set(request, '$.name', '', '$.nonce', ''), terminal = NULL, expires_at = NULL,
       swept_at = ?, client = '', journal_bytes = 0 WHERE id = ?`,
    ),
    deleteFacts: db.prepare('DELETE FROM facts WHERE archive = ?'),
    deleteManifest: db.prepare('DELETE FROM manifest WHERE archive = ?'),
    countTombstones: db.prepare(
      'SELECT count(*) AS inAll, count(*) FILTER (WHERE swept_at < ?) AS old FROM archive WHERE swept_at IS NOT NULL',
    ),
    forgetOldest: db.prepare(
      'DELETE FROM archive WHERE id IN (SELECT id FROM archive WHERE swept_at IS NOT NULL ORDER BY swept_at LIMIT ?)',
    ),
    forgetUsage: db.prepare('DELETE FROM usage WHERE day < ?'),
    increaseUsage: db.prepare(
      `INSERT INTO usage (client, day, bytes) VALUES (?, ?, ?)
       ON CONFLICT (client, day) DO UPDATE SET bytes = bytes + excluded.bytes`,
    ),
    selectUsage: db.prepare('SELECT client, day, bytes FROM usage WHERE day >= ? ORDER BY day, client'),
    selectNewest: db.prepare(
      `SELECT max(max(accepted_at, coalesce(swept_at, 0), coalesce(json_extract(terminal, '$.sealedAtMs'), 0))) AS newest
       FROM archive`,
    ),
    selectHoldings: db.prepare(
      `SELECT id AS archiveId, client, journal_bytes AS journalBytes, CASE WHEN terminal IS NULL THEN 'unfinished'
     WHEN json_extract(terminal, '$.type') = 'aborted' THEN 'aborted' ELSE 'sealed' END AS state
       FROM archive WHERE swept_at IS NULL`,
    ),
  }
}

/** @throws the ports' errors for SQLite's errors */
export function transaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    db.exec('COMMIT')
    return result
  } catch (error) {
    // If the disk is full, SQLite may already have rolled back.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw portError(error)
  }
}

/** @throws the ports' errors for SQLite's errors */
export function query<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw portError(error)
  }
}
